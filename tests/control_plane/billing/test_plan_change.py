"""A change of plan, seats, add-ons or interval: what it comes to, when it holds, and what undoes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from control_plane.billing.book import Book
from control_plane.billing.change_quote import Wanted
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import take_in
from control_plane.billing.ending import cancel_later, cancel_now
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.provider import Answer, settled
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.plans import PlanCatalog, parse_plans
from control_plane.domain.terms import Taken
from control_plane.errors import BadInput, NotFound, Refused
from tests.support.books import (
    DAY,
    HOUR,
    LATER,
    START,
    Answers,
    Auditor,
    begun,
    change,
    declined,
    every_hour,
    facts_of,
    failing,
    final,
    free_book,
    go,
    paid,
    pending,
    state_of,
    sums,
    told,
    unfit_in,
)

MID = START + 14 * DAY  # the middle of the first period, which has 28 days


def _vector_plans(old: int, new: int, currency: str, interval: str, mode: str) -> PlanCatalog:
    def plan(name: str, rank: int, amount: int) -> str:
        return f"""
  - {{name: {name}, version: 1, rank: {rank}, tier: any, title: A plan, isolations: [pooled],
     regions: [local], quotas: {{records_max: 10, seats_max: 50}}, proration: {mode},
     charges: [{{component: plan, interval: {interval}, prices: [{{currency: {currency},
                model: flat, amount_minor: {amount}}}]}}]}}"""

    return parse_plans("plans:" + plan("old", 1, old) + plan("new", 2, new), "plans.yaml")


# Old and new price, the period's first day, the instant, credit and debit by seconds, net by days.
VECTORS: Mapping[str, tuple[int, int, str, str, int, int, int]] = MappingProxyType(
    {
        "EUR month a": (1000, 2000, "2026-04-01", "2026-04-16T00:00:00", -500, 1000, 500),
        "EUR month b": (2999, 9999, "2026-10-01", "2026-10-10T13:37:11", -2073, 6913, 4968),
        "EUR month c": (9999, 2999, "2026-02-01", "2026-02-27T23:59:59", -357, 107, -500),
        "EUR year d": (
            119900,
            239900,
            "2026-01-01",
            "2026-01-01T00:00:01",
            -119900,
            239900,
            120000,
        ),
        "JPY month e": (3000, 5000, "2026-06-01", "2026-06-11T00:00:00", -2000, 3333, 1333),
        "EUR month f": (10000, 0, "2028-02-01", "2028-02-15T12:00:00", -5000, 0, -5172),
    }
)


@pytest.mark.parametrize("mode", ["second", "day"])
@pytest.mark.parametrize("name", VECTORS)
def test_the_golden_vectors_hold_in_preview_and_commit(name: str, mode: str) -> None:
    old, new, began, at, credit, debit, net_by_day = VECTORS[name]
    currency, interval, _ = name.split()
    start, moment = (datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (began, at))
    plans = _vector_plans(old, new, currency, interval, mode)
    terms = {"currency": currency, "interval": interval, "seats": 0}
    book = begun("old", at=start, plans=plans, terms=terms)
    quoted = quote(book, Wanted(plan="new"), moment, "c")
    invoice = commit(book, quoted, moment, "c")
    amounts = {str(one.kind): one.amount_minor for one in quoted.lines}
    found = [amounts.get(f"proration_{one}", 0) for one in ("credit", "debit")]
    net = net_by_day if mode == "day" else credit + debit
    assert sum(found) == net
    assert mode == "day" or found == [credit, debit]
    assert invoice is not None
    assert tuple(one for one in invoice.lines if one.kind != "credit_carried") == quoted.lines
    assert invoice.total_minor == quoted.total_minor == max(0, net)
    back = [one for one in quoted.lines if one.kind == "proration_credit"]
    [opened] = [one for one in final(book)[0].lines if one.kind == "base"]
    assert [one.reverses for one in back] == [opened.id]
    Auditor().look(go(book, moment))
    assert book.subscription.plan == "new"
    assert book.credit_minor == max(0, -net)


def test_a_preview_changes_nothing() -> None:
    book = begun()
    before = facts_of(book)
    quoted = quote(book, Wanted(plan="pro"), MID, "c")
    assert facts_of(book) == before
    assert (quoted.applies, quoted.direction) == ("when_paid", "upgrade")
    assert (quoted.total_minor, quoted.due_minor) == (3000, 3000)
    assert quoted.recurring_minor == 9999
    assert {(one.kind, one.amount_minor) for one in quoted.lines} == {
        ("proration_credit", -1500),
        ("proration_credit", -500),
        ("proration_debit", 5000),
    }


def test_an_upgrade_holds_only_once_it_is_paid() -> None:
    book = begun()
    change(book, MID, plan="pro")
    assert book.subscription.plan == "team"
    assert book.subscription.pending_change is not None
    go(book, MID)
    assert book.subscription.plan == "pro"
    assert book.subscription.pending_change is None
    assert told(book, "subscription.apply_change") == [MID]
    go(book, START + 28 * DAY)
    assert [one.total_minor for one in final(book)] == [3999, 3000, 9999]
    Auditor().look(book)


@pytest.mark.parametrize("answer", [declined, failing])
def test_an_upgrade_that_is_declined_is_given_up_and_its_invoice_void(answer: Answers) -> None:
    book = begun()
    before = dict(book.balances)
    change(book, MID, plan="pro")
    go(book, MID, answer)
    assert state_of(book) == "active"
    assert book.subscription.plan == "team"
    assert book.subscription.pending_change is None
    assert [one.state for one in final(book)] == ["paid", "void"]
    assert book.balances == before
    go(book, MID + 9 * DAY, answer)
    assert len(book.attempts) == 2
    assert book.subscription.gates == ()


def test_an_upgrade_that_nobody_collects_is_dropped_after_23_hours() -> None:
    book = begun()
    book.revise(collection_paused=True)
    change(book, MID, plan="pro")
    go(book, MID + 23 * HOUR - timedelta(seconds=1))
    assert book.subscription.pending_change is not None
    go(book, MID + 23 * HOUR)
    assert book.subscription.pending_change is None
    assert final(book)[-1].state == "void"


def test_an_upgrade_waits_while_its_payment_is_under_way() -> None:
    book = begun()
    change(book, MID, plan="pro")
    go(book, MID + 3 * DAY, pending)
    assert book.subscription.pending_change is not None
    assert book.subscription.plan == "team"
    assert state_of(book) == "active"
    [attempt] = [one for one in book.attempts.values() if one.state == "unknown"]
    take_in(book, settled(attempt, paid(attempt), MID + 3 * DAY), MID + 3 * DAY)
    assert book.subscription.plan == "pro"
    Auditor().look(book)


def test_one_that_settles_after_its_period_is_credited_and_does_not_hold() -> None:
    book, auditor = begun(), Auditor()
    change(book, START + 27 * DAY, plan="pro")
    go(book, START + 29 * DAY, pending)
    auditor.look(book)
    assert book.subscription.plan == "team"
    for one in [one for one in book.attempts.values() if one.state == "unknown"]:
        take_in(book, settled(one, paid(one), START + 29 * DAY), START + 29 * DAY)
    auditor.look(book)
    assert book.subscription.plan == "team"
    assert book.subscription.pending_change is None
    # What it gives back pays for the renewal, whose own payment came too: that is credit as well.
    assert [one.kind for one in book.credit_notes] == ["balance"]
    assert book.credit_minor == book.credit_notes[0].amount_minor


def test_credit_is_used_before_anything_is_collected() -> None:
    book = begun("pro")
    change(book, START + DAY, plan="trial")
    credit = book.credit_minor
    assert credit > 5_000
    quoted = change(book, START + DAY, "second", plan="metered")
    assert (quoted.applies, quoted.due_minor) == ("now", 0)
    assert book.subscription.plan == "metered"
    go(book, START + 28 * DAY + HOUR)
    least_minor = 48  # of 50 a period, for 27 of its 28 days
    assert book.credit_minor == credit + 2893 - least_minor - 1000
    assert len(book.attempts) == 1


def test_what_credit_leaves_over_is_collected_and_given_back_with_it_when_declined() -> None:
    book = begun("pro")
    change(book, START + 27 * DAY, plan="trial")
    credit = book.credit_minor
    quoted = change(book, START + 27 * DAY, "second", plan="term", interval="month")
    assert credit == 357 - 143
    assert quoted.applies == "now"
    year = begun()
    year.balances = dict(year.balances)
    spent = quote(year, Wanted(plan="pro", interval="year"), MID, "c")
    assert spent.due_minor == spent.total_minor - spent.credit_minor > 0


def test_by_invoice_an_upgrade_holds_at_once_and_is_owed() -> None:
    book = begun(method=False, terms={"collection": "by_invoice", "due_days": 20})
    quoted = change(book, MID, plan="pro")
    assert quoted.applies == "now"
    assert book.subscription.plan == "pro"
    assert [one.due_minor for one in final(book)] == [3999, 3000]


def test_more_seats_are_had_now_and_fewer_from_the_next_period_on() -> None:
    book = begun()
    more = change(book, MID, "more", seats=6)
    assert [one.amount_minor for one in more.lines] == [-500, 1500]
    go(book, MID)
    assert book.terms.seats == 6
    fewer = change(book, MID + DAY, "fewer", seats=1)
    assert (fewer.applies, fewer.lines) == ("period_end", ())
    go(book, MID + 2 * DAY)
    assert book.terms.seats == 6
    go(book, START + 28 * DAY)
    assert book.terms.seats == 1
    assert sums(final(book)[-1]) == {"base:plan": 2999, "seats:seats": 500}


def test_add_ons_are_had_now_and_given_up_from_the_next_period_on() -> None:
    book = begun()
    taken = change(book, MID, "more", add_ons=(Taken(name="support", quantity=2),))
    assert [(one.reference, one.amount_minor) for one in taken.lines] == [("support", 700)]
    go(book, MID)
    change(book, MID + DAY, "fewer", add_ons=())
    assert [one.name for one in book.terms.add_ons] == ["support"]
    go(book, START + 28 * DAY)
    assert not book.terms.add_ons
    assert sums(final(book)[-1]) == {"base:plan": 2999, "seats:seats": 1000}


def test_up_and_down_and_up_within_a_period_come_to_the_price_to_the_cent() -> None:
    book, auditor = begun(), Auditor()
    for step, seats in enumerate((3, 7, 8, 11, 23)):
        at = START + (step * 5 + 1) * DAY + timedelta(seconds=step * 7_777)
        change(book, at, f"c{step}", seats=seats)
        auditor.look(go(book, at))
    charged = [one for each in final(book) for one in each.lines if one.reference == "seats"]
    began = [START, *(one.period_start for one in charged if one.kind == "proration_debit")]
    period = 28 * 86_400
    exact = sum(
        500 * seats * ((end - begin) // timedelta(seconds=1))
        for seats, begin, end in zip(
            (2, 3, 7, 8, 11, 23), began, [*began[1:], START + 28 * DAY], strict=True
        )
        if begin is not None and end is not None
    )
    assert abs(sum(one.amount_minor for one in charged) * period - exact) < 3 * period


def test_another_interval_with_a_bigger_plan_begins_a_period_at_once() -> None:
    book = begun()
    quoted = change(book, MID, plan="pro", interval="year")
    assert quoted.terms.anchor_at == MID
    assert quoted.total_minor == 99990 - 2000
    # Half of the month is earned, whatever comes of the change.
    assert book.balance_minor("revenue") == -1999
    go(book, MID)
    assert book.subscription.current_period_start == MID
    assert book.subscription.current_period_end == datetime(2027, 2, 14, 10, tzinfo=UTC)
    Auditor().look(book)


def test_it_begins_its_year_also_at_the_instant_at_which_its_month_began() -> None:
    book = begun()
    change(book, START, plan="pro", interval="year")
    go(book, START + 100 * DAY)
    assert [one.total_minor for one in final(book)] == [3999, 99990 - 3999]
    assert book.balance_minor("revenue") == 0
    assert book.subscription.current_period_end == datetime(2027, 1, 31, 10, tzinfo=UTC)
    Auditor().look(book)


def test_more_seats_at_the_very_beginning_earn_nothing_early() -> None:
    book = begun()
    change(book, START, seats=4)
    assert book.balance_minor("revenue") == 0
    assert book.deferred_minor == 4999


def test_what_was_used_until_an_interval_ends_early_is_billed() -> None:
    book = begun("trial", usage=every_hour, trial_ends_at=None)
    go(book, START + 14 * DAY)
    change(book, START + 24 * DAY, plan="by_use")
    go(book, START + 24 * DAY + 2 * HOUR)
    used = [line for one in final(book) for line in one.lines if line.kind == "usage"]
    assert [(one.period_start, one.period_end) for one in used] == [
        (START + 14 * DAY, START + 24 * DAY)
    ]
    assert [one.amount_minor for one in used] == [10 * 24]
    go(book, START + 60 * DAY)
    Auditor().look(book)


def test_what_was_used_before_an_upgrade_is_billed_at_the_rates_of_then() -> None:
    book = begun("trial", usage=every_hour)
    go(book, START + 14 * DAY)
    change(book, START + 24 * DAY, plan="metered")
    change(book, START + 26 * DAY, "dearer", plan="term")
    go(book, START + 60 * DAY)
    used = [line for one in final(book) for line in one.lines if line.kind == "usage"]
    assert [(int(one.quantity), one.amount_minor) for one in used] == [(240, 240), (48, 96)]
    Auditor().look(book)


def test_a_first_plan_of_a_free_tenant_begins_its_periods_once_it_is_paid() -> None:
    book = free_book()
    with pytest.raises(BadInput, match="currency"):
        quote(book, Wanted(plan="team"), MID, "c")
    quoted = change(book, MID, plan="team", currency="EUR", seats=3)
    assert quoted.applies == "when_paid"
    assert book.subscription.plan == "free"
    go(book, MID)
    assert book.subscription.plan == "team"
    assert book.subscription.current_period_start == MID
    assert sums(final(book)[0]) == {"base:plan": 2999, "seats:seats": 1500}
    go(book, MID + 40 * DAY)
    assert [one.total_minor for one in final(book)] == [4499, 4499]
    Auditor().look(book)


def test_a_first_plan_that_is_paid_after_its_first_period_is_credited() -> None:
    for late, plan in ((27 * DAY, "team"), (28 * DAY, "free")):
        book = free_book()
        change(book, START + 28 * DAY, plan="team", currency="EUR")
        go(book, START + 28 * DAY, pending)
        [attempt] = book.attempts.values()
        at = START + 28 * DAY + late
        take_in(book, settled(attempt, paid(attempt), at), at)
        assert book.subscription.plan == plan
        assert (book.credit_minor > 0) is (plan == "free")
        Auditor().look(book)


def test_a_free_tenant_whose_first_plan_is_declined_is_free_and_may_ask_again() -> None:
    book = free_book()
    change(book, MID, plan="team", currency="EUR")
    go(book, MID, declined)
    assert book.subscription.plan == "free"
    assert state_of(book) == "active"
    assert book.balances == {}
    change(book, MID + DAY, "again", plan="team", currency="EUR")
    go(book, MID + DAY)
    assert book.subscription.plan == "team"


def test_a_bigger_plan_that_costs_nothing_gives_the_rest_back_and_once_only() -> None:
    plans = parse_plans(
        """
plans:
  - {name: small, version: 1, rank: 1, tier: a, title: A, isolations: [pooled], regions: [local],
     quotas: {records_max: 10, seats_max: 5},
     charges: [{component: plan, interval: month, prices: [{currency: EUR, model: flat, amount_minor: 2800}]}]}
  - {name: gift, version: 1, rank: 2, tier: a, title: A, isolations: [pooled], regions: [local],
     quotas: {records_max: 10, seats_max: 5}}
""",
        "plans.yaml",
    )
    book = begun("small", plans=plans)
    change(book, MID, plan="gift")
    assert book.credit_minor == 1400
    assert book.subscription.current_period_end is None
    cancel_now(book, MID + DAY, "x")
    assert book.credit_minor == 1400
    assert book.deferred_minor == 0
    Auditor().look(go(book, LATER))


def test_what_is_measured_by_days_after_it_was_by_seconds_loses_no_cent() -> None:
    text = _vector_plans(3100, 6200, "EUR", "month", "second")
    by_day = text.plans[1].model_copy(update={"proration": "day"})
    plans = PlanCatalog(plans=(text.plans[0], by_day))
    book = begun("old", plans=plans, terms={"seats": 0})
    at = MID + timedelta(hours=7, minutes=13)
    up = quote(book, Wanted(plan="new"), at, "up")
    commit(book, up, at, "up")
    go(book, at)
    cancel_now(book, at, "x")
    back = final(book)[-1]
    given = sum(one.amount_minor for one in back.lines if one.kind == "proration_credit")
    [debit] = [one for one in up.lines if one.kind == "proration_debit"]
    assert given == -debit.amount_minor


def _overdue(book: Book) -> None:
    go(book, START + 40 * DAY, declined)


MISTAKES: tuple[tuple[Callable[[Book], object], dict[str, Any], type[Exception], str], ...] = (
    (lambda _: None, {"plan": "team"}, Refused, "same_plan"),
    (lambda _: None, {"plan": "nowhere"}, NotFound, "plan_not_found"),
    (lambda _: None, {"plan": "trial", "interval": "year"}, Refused, "interval_not_offered"),
    (lambda _: None, {"plan": "pro", "currency": "USD"}, Refused, "two_currencies"),
    (lambda _: None, {"plan": "team", "seats": 51}, BadInput, "bad_input"),
    (lambda b: change(b, MID, plan="pro"), {"plan": "team"}, Refused, "change_pending"),
    (lambda b: cancel_later(b, MID), {"plan": "pro"}, Refused, "already_ending"),
    (lambda b: cancel_now(b, MID, "x"), {"plan": "pro"}, IllegalTransition, "illegal_transition"),
    (_overdue, {"plan": "pro"}, Refused, "payment_overdue"),
)


@pytest.mark.parametrize(("before", "wanted", "error", "code"), MISTAKES)
def test_a_change_that_may_not_be_is_refused_by_its_name(
    before: Callable[[Book], Any], wanted: dict[str, Any], error: type[Exception], code: str
) -> None:
    book = begun()
    before(book)
    held = facts_of(book)
    with pytest.raises(error) as caught:
        quote(book, Wanted(**wanted), MID, "again")
    assert getattr(caught.value, "code", None) == code
    assert facts_of(book) == held


def test_a_debt_forbids_an_upgrade_and_lets_one_have_less() -> None:
    book = begun()
    # The bank takes its time: nothing has failed yet, and nothing is paid.
    go(book, START + 29 * DAY, lambda _: Answer(kind="pending", reference="bank"))
    assert book.subscription.state == "active"
    with pytest.raises(Refused) as caught:
        quote(book, Wanted(plan="pro"), START + 29 * DAY, "c")
    assert caught.value.code == "payment_overdue"
    assert quote(book, Wanted(plan="free"), START + 29 * DAY, "c").applies == "period_end"


def test_who_collects_nothing_presses_nobody() -> None:
    book = begun()
    book.revise(collection_paused=True)
    go(book, START + 29 * DAY)
    assert book.owed()
    assert book.subscription.gates == ()
    assert quote(book, Wanted(plan="pro"), START + 29 * DAY, "c").direction == "upgrade"


def test_a_plan_that_is_too_small_is_shown_and_not_committed() -> None:
    book = begun("pro", unfit=unfit_in("seats", "storage"))
    quoted = quote(book, Wanted(plan="team"), MID, "c")
    assert quoted.unfit == ("seats", "storage")
    held = facts_of(book)
    with pytest.raises(Refused) as caught:
        commit(book, quoted, MID, "c")
    assert caught.value.code == "does_not_fit"
    assert facts_of(book) == held


def test_what_is_to_be_collected_needs_a_method() -> None:
    book = begun()
    book.revise(method=None)
    quoted = quote(book, Wanted(plan="pro"), MID, "c")
    held = facts_of(book)
    with pytest.raises(Refused) as caught:
        commit(book, quoted, MID, "c")
    assert caught.value.code == "payment_method_required"
    assert facts_of(book) == held


def test_a_quote_is_not_carried_out_once_another_change_or_an_end_was_asked_for() -> None:
    commands: tuple[Callable[[Book], object], ...] = (
        lambda book: change(book, START + 28 * DAY + HOUR / 2, "other", plan="team"),
        lambda book: cancel_later(book, START + 28 * DAY + HOUR / 2),
        lambda book: cancel_now(book, START + 28 * DAY + HOUR / 2, "x"),
    )
    for meanwhile in commands:
        book = begun("metered", usage=every_hour)
        advance(book, START + 28 * DAY)
        quoted = quote(book, Wanted(plan="term"), START + 28 * DAY + HOUR / 2, "c")
        meanwhile(book)
        held = facts_of(book)
        with pytest.raises(Refused):
            commit(book, quoted, START + 28 * DAY + HOUR / 2, "c")
        assert facts_of(book) == held


def test_a_change_of_one_tenant_is_the_same_in_every_zone_in_which_its_instant_is_told() -> None:
    from_utc, elsewhere = begun(), begun()
    told_there = MID.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert quote(from_utc, Wanted(plan="pro"), MID, "c") == quote(
        elsewhere, Wanted(plan="pro"), told_there, "c"
    )


def test_a_change_on_ones_own_plan_stays_on_its_version() -> None:
    old = begun().sources.plans
    newer = old.offer("team").model_copy(update={"version": 2, "title": "Newer"})
    plans = PlanCatalog(plans=(*old.plans, newer))
    book = begun(plans=plans, plan_version=1)
    assert quote(book, Wanted(plan="team", seats=5), MID, "c").plan_version == 1
    other = begun("pro", plans=plans)
    assert quote(other, Wanted(plan="team"), MID, "c").plan_version == 2


def test_a_late_success_of_a_change_that_was_given_up_is_credit() -> None:
    book = begun()
    change(book, MID, plan="pro")
    go(book, MID, pending)
    cancel_later(book, MID + HOUR)
    assert final(book)[-1].state == "void"
    [attempt] = [one for one in book.attempts.values() if one.state == "unknown"]
    take_in(book, settled(attempt, paid(attempt), MID + 2 * HOUR), MID + 2 * HOUR)
    assert book.credit_minor == attempt.amount_minor
    assert state_of(book) == "active"
    Auditor().look(book)


def test_a_late_failure_of_a_change_that_was_given_up_is_no_debt() -> None:
    book = begun()
    change(book, MID, plan="pro")
    go(book, MID, pending)
    cancel_later(book, MID + HOUR)
    [attempt] = [one for one in book.attempts.values() if one.state == "unknown"]
    failed = Answer(kind="failed", failure="soft_decline", reference="r")
    take_in(book, settled(attempt, failed, MID + 2 * HOUR), MID + 2 * HOUR)
    assert state_of(book) == "active"


def test_a_debt_is_lifted_though_a_change_still_waits_for_its_own_payment() -> None:
    book = begun()
    change(book, START + 28 * DAY - 2 * HOUR, plan="pro")
    waiting = final(book)[-1].id

    def renewal_declined(attempt: PaymentAttempt) -> Answer:
        return pending(attempt) if attempt.invoice == waiting else declined(attempt)

    go(book, START + 28 * DAY, renewal_declined)
    assert state_of(book) == "past_due"
    go(
        book,
        START + 29 * DAY,
        lambda one: pending(one) if one.invoice == waiting else paid(one),
    )
    assert book.subscription.pending_change is not None
    assert state_of(book) == "active"
