"""The dunning ladder: as a table, and as what holds of every debt, policy and instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.dunning import (
    GRACE_WITHOUT_END,
    Debt,
    DunningFacts,
    Standing,
    debts_of,
    grace_end,
    next_change,
    overdue_since,
    standing,
    subscription_event,
)
from control_plane.domain.dunning_policy import DunningPolicy, Rung
from control_plane.domain.gate import GATES, LEVELS, Blocked, Gate, GateLevel
from control_plane.domain.invoice import Invoice, InvoiceLine, allocate, finalize, line_id, void
from control_plane.domain.money import MINOR_MAX, Money
from control_plane.domain.subscription import SUBSCRIPTION, Exhausted, SubscriptionState
from control_plane.errors import BadInput

DUE = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
USUAL = DunningPolicy()
RISKS: frozenset[Blocked] = frozenset({"upgrade", "new_silo"})
GROWTH: frozenset[Blocked] = RISKS | frozenset[Blocked]({"new_resource", "raise_quota"})


def debt(amount_minor: int = 1_000, due_at: datetime = DUE, currency: str = "EUR") -> Debt:
    name = f"invoice_{currency}_{amount_minor}"
    return Debt(invoice=name, due_at=due_at, amount_minor=amount_minor, currency=currency)


def facts(*debts: Debt, never_suspend: bool = False, canceled: bool = False) -> DunningFacts:
    return DunningFacts(debts=debts, never_suspend=never_suspend, canceled=canceled)


def moved(state: SubscriptionState, event: str) -> SubscriptionState:
    target = SUBSCRIPTION.next(state, event)
    return next(one for one in get_args(SubscriptionState) if one == target)


def height(reached: Standing) -> int:
    return LEVELS.index(reached.level)


DEBTS = st.lists(
    st.builds(
        debt,
        st.integers(1, 3_000),
        st.integers(-40 * 24, 40 * 24).map(lambda hours: DUE + timedelta(hours=hours)),
        st.sampled_from(["EUR", "JPY", "USD"]),
    ),
    max_size=6,
).map(tuple)
FACTS = st.builds(DunningFacts, debts=DEBTS, never_suspend=st.booleans(), canceled=st.booleans())
INSTANTS = st.integers(-60 * 24, 100 * 24).map(lambda hours: DUE + timedelta(hours=hours))


@st.composite
def policies(draw: st.DrawFn) -> DunningPolicy:
    levels = draw(st.sets(st.sampled_from(LEVELS[1:]), min_size=1))
    days = draw(st.sets(st.integers(0, 60), min_size=len(levels), max_size=len(levels)))
    rungs = zip(sorted(days), sorted(levels, key=LEVELS.index), strict=True)
    limits = draw(st.dictionaries(st.sampled_from(["EUR", "JPY"]), st.integers(0, 4_000)))
    return DunningPolicy(
        rungs=tuple(Rung(day=day, level=level) for day, level in rungs),
        thresholds=tuple(Money(minor=minor, currency=one) for one, minor in limits.items()),
        when_exhausted=draw(st.sampled_from(get_args(Exhausted))),
    )


# the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "level", "gate"),
    [
        (0, 6, "no_upgrades", Gate(subscription="past_due", blocks=RISKS)),
        (7, 13, "no_new_resources", Gate(subscription="past_due", blocks=GROWTH)),
        (
            14,
            20,
            "read_only",
            Gate(subscription="unpaid", access_mode="read_only", suspended=True, blocks=GROWTH),
        ),
        (
            21,
            29,
            "no_access",
            Gate(
                subscription="unpaid",
                access_mode="none",
                suspended=True,
                blocks=GROWTH,
                compute_stopped=True,
            ),
        ),
        (
            30,
            400,
            "deprovision",
            Gate(
                subscription="canceled",
                access_mode="none",
                suspended=True,
                blocks=GROWTH,
                compute_stopped=True,
                deprovision_planned=True,
            ),
        ),
    ],
)
def test_the_usual_ladder_is_the_table_of_the_rules(
    first: int, last: int, level: GateLevel, gate: Gate
) -> None:
    for day in (first, last):
        for within in (timedelta(0), DAY - TICK):
            reached = standing(USUAL, facts(debt()), DUE + day * DAY + within)
            assert (reached.level, reached.days_overdue) == (level, day)
            assert reached.gate == gate
            assert reached.owed == (Money(minor=1_000, currency="EUR"),)


def test_before_it_is_due_nothing_is_closed() -> None:
    assert standing(USUAL, facts(debt()), DUE - TICK) == Standing()
    assert Standing().gate == Gate()


def test_data_is_retained_from_the_last_rung_on() -> None:
    before = standing(USUAL, facts(debt()), DUE + 30 * DAY - TICK)
    assert before.retain_until is None
    last = standing(USUAL, facts(debt()), DUE + 35 * DAY)
    assert last.retain_until == DUE + 60 * DAY


def test_each_level_closes_all_that_the_one_below_it_closes() -> None:
    access = ("full", "read_only", "none")
    assert tuple(GATES) == LEVELS
    for lower, higher in pairwise(GATES.values()):
        assert lower.blocks <= higher.blocks
        assert access.index(lower.access_mode) <= access.index(higher.access_mode)
        assert lower.suspended <= higher.suspended
        assert lower.compute_stopped <= higher.compute_stopped
        assert lower.deprovision_planned <= higher.deprovision_planned
        assert lower != higher


# properties ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(policy=policies(), given_facts=FACTS, one=INSTANTS, other=INSTANTS)
def test_time_alone_never_lowers_the_gate(
    policy: DunningPolicy, given_facts: DunningFacts, one: datetime, other: datetime
) -> None:
    early, late = sorted((one, other))
    assert height(standing(policy, given_facts, early)) <= height(
        standing(policy, given_facts, late)
    )


@settings(max_examples=40, deadline=None)
@given(policy=policies(), before=FACTS, now=INSTANTS)
def test_paying_lifts_everything_at_once_whatever_came_before(
    policy: DunningPolicy, before: DunningFacts, now: datetime
) -> None:
    paid = before.model_copy(update={"debts": ()})
    assert standing(policy, paid, now) == Standing()
    assert next_change(policy, paid, now) is None
    assert grace_end(policy, paid) == GRACE_WITHOUT_END


@settings(max_examples=40, deadline=None)
@given(policy=policies(), given_facts=FACTS, now=INSTANTS, data=st.data())
def test_paying_a_part_never_raises_the_gate(
    policy: DunningPolicy, given_facts: DunningFacts, now: datetime, data: st.DataObject
) -> None:
    left = [
        one if amount == one.amount_minor else one.model_copy(update={"amount_minor": amount})
        for one in given_facts.debts
        if (amount := data.draw(st.integers(0, one.amount_minor)))
    ]
    less = given_facts.model_copy(update={"debts": tuple(left)})
    assert height(standing(policy, less, now)) <= height(standing(policy, given_facts, now))


@settings(max_examples=40, deadline=None)
@given(policy=policies(), given_facts=FACTS, now=INSTANTS)
def test_no_currency_up_to_its_threshold_closes_anything_whatever_others_do(
    policy: DunningPolicy, given_facts: DunningFacts, now: datetime
) -> None:
    totals: dict[str, int] = {}
    for one in given_facts.debts:
        totals[one.currency] = totals.get(one.currency, 0) + one.amount_minor
    counted = tuple(
        one
        for one in given_facts.debts
        if totals[one.currency] > policy.threshold_minor(one.currency)
    )
    alone = given_facts.model_copy(update={"debts": counted})
    assert standing(policy, given_facts, now) == standing(policy, alone, now)


@settings(max_examples=40, deadline=None)
@given(policy=policies(), debts=DEBTS, now=INSTANTS)
def test_never_suspend_wins_over_every_rung_until_the_subscription_has_ended(
    policy: DunningPolicy, debts: tuple[Debt, ...], now: datetime
) -> None:
    tagged = standing(policy, facts(*debts, never_suspend=True), now)
    plain = standing(policy, facts(*debts), now)
    assert not tagged.gate.suspended
    assert tagged.gate.access_mode == "full"
    assert tagged.retain_until is None
    assert tagged.owed == plain.owed
    if not plain.gate.suspended:
        assert tagged == plain
    assert standing(policy, facts(*debts, never_suspend=True, canceled=True), now) == plain


@settings(max_examples=40, deadline=None)
@given(policy=policies(), given_facts=FACTS, now=INSTANTS)
def test_the_end_of_grace_is_the_instant_from_which_access_is_not_full(
    policy: DunningPolicy, given_facts: DunningFacts, now: datetime
) -> None:
    full = standing(policy, given_facts, now).gate.access_mode == "full"
    end = grace_end(policy, given_facts)
    assert full is (now < end)
    if end != GRACE_WITHOUT_END:
        assert standing(policy, given_facts, end - TICK).gate.access_mode == "full"
        assert standing(policy, given_facts, end).gate.access_mode != "full"


@settings(max_examples=40, deadline=None)
@given(policy=policies(), given_facts=FACTS, now=INSTANTS)
def test_the_next_change_is_the_first_instant_with_another_level(
    policy: DunningPolicy, given_facts: DunningFacts, now: datetime
) -> None:
    level = standing(policy, given_facts, now).level
    at = next_change(policy, given_facts, now)
    if at is None:
        assert standing(policy, given_facts, now + 500 * DAY).level == level
        return
    assert at > now
    assert standing(policy, given_facts, at - TICK).level == level
    assert standing(policy, given_facts, at).level != level


@settings(max_examples=40, deadline=None)
@given(
    policy=policies(),
    given_facts=FACTS,
    now=INSTANTS,
    zone=st.sampled_from(["Europe/Berlin", "America/St_Johns", "Pacific/Apia"]),
)
def test_nothing_hangs_on_a_time_zone(
    policy: DunningPolicy, given_facts: DunningFacts, now: datetime, zone: str
) -> None:
    there = ZoneInfo(zone)
    moved = DunningFacts.model_validate(
        {
            **{name: getattr(given_facts, name) for name in ("never_suspend", "canceled")},
            "debts": tuple(
                Debt.model_validate({**dict(one), "due_at": one.due_at.astimezone(there)})
                for one in given_facts.debts
            ),
        }
    )
    assert standing(policy, moved, now.astimezone(there)) == standing(policy, given_facts, now)


@settings(max_examples=40, deadline=None)
@given(
    policy=policies(),
    given_facts=FACTS,
    now=INSTANTS,
    state=st.sampled_from(get_args(SubscriptionState)),
)
def test_a_late_sweep_takes_each_step_in_order_and_comes_to_rest(
    policy: DunningPolicy, given_facts: DunningFacts, now: datetime, state: SubscriptionState
) -> None:
    reached = standing(policy, given_facts, now)
    fired: list[str] = []
    at = state
    for _ in range(3):
        event = subscription_event(at, reached, policy)
        if event is None:
            break
        fired.append(event)
        at = moved(at, event)
    assert len(fired) <= 2
    assert subscription_event(at, reached, policy) is None
    if state == "past_due" and reached.gate.suspended:
        cancels = policy.when_exhausted == "cancel" or reached.gate.deprovision_planned
        assert at == ("canceled" if cancels else "unpaid")
    elif state not in {"past_due", "unpaid"}:
        assert fired == []


def test_the_usual_ladder_takes_a_subscription_where_its_table_says() -> None:
    state: SubscriptionState = "past_due"
    for day in range(40):
        reached = standing(USUAL, facts(debt(), canceled=state == "canceled"), DUE + day * DAY)
        if (event := subscription_event(state, reached, USUAL)) is not None:
            state = moved(state, event)
        assert state == reached.gate.subscription


# currencies and thresholds ---------------------------------------------------------------------


def test_a_debt_in_one_currency_counts_whatever_is_small_in_another() -> None:
    policy = DunningPolicy(
        thresholds=(Money(minor=500, currency="EUR"), Money(minor=500, currency="USD"))
    )
    old, large = debt(500), debt(501, DUE + 20 * DAY, "USD")
    assert standing(policy, facts(old), DUE + 99 * DAY) == Standing()
    reached = standing(policy, facts(old, large), DUE + 27 * DAY)
    assert (reached.level, reached.days_overdue) == ("no_new_resources", 7)
    assert reached.owed == (Money(minor=501, currency="USD"),)


def test_the_cent_that_crosses_the_threshold_begins_the_ladder_at_its_foot() -> None:
    policy = DunningPolicy(thresholds=(Money(minor=500, currency="EUR"),))
    crossing = DUE + 90 * DAY
    two = facts(debt(500), debt(1, crossing))
    assert overdue_since(policy, two) == crossing
    assert standing(policy, two, crossing).level == "no_upgrades"
    assert standing(policy, two, crossing).owed == (Money(minor=501, currency="EUR"),)


def test_the_order_in_which_debts_are_given_does_not_count() -> None:
    three = (debt(1), debt(2, DUE + DAY), debt(3, DUE, "JPY"))
    now = DUE + 8 * DAY
    assert standing(USUAL, facts(*three), now) == standing(USUAL, facts(*three[::-1]), now)
    assert [one.currency for one in standing(USUAL, facts(*three), now).owed] == ["EUR", "JPY"]


def test_a_total_beyond_the_exact_range_is_refused_and_not_rounded() -> None:
    with pytest.raises(BadInput):
        standing(USUAL, facts(debt(MINOR_MAX), debt(1)), DUE)


# debts -----------------------------------------------------------------------------------------


def test_debts_are_what_invoices_still_owe() -> None:
    charge = InvoiceLine(
        id=line_id("invoice_1", "base", "team"),
        invoice="invoice_1",
        kind="base",
        reference="team",
        description="Team, March",
        amount_minor=1_000,
        currency="EUR",
    )
    draft = Invoice(
        id="invoice_1", tenant="acme", currency="EUR", lines=(charge,), total_minor=1_000
    )
    owed = finalize(draft, "INV-000001", DUE, DUE)
    (found,) = debts_of([draft, allocate(owed, 400), allocate(owed, 1_000), void(owed)])
    assert found == Debt(invoice="invoice_1", due_at=DUE, amount_minor=600, currency="EUR")
