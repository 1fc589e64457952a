"""What each level of a debt closes, and which level holds at an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.dunning import Debt, DunningFacts, gate_steps, standing
from control_plane.domain.dunning_policy import DunningPolicy, Rung
from control_plane.domain.gate import GATES, LEVELS, GateStep, level_at
from control_plane.domain.money import Money

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def test_without_a_debt_nothing_is_closed() -> None:
    assert level_at((), AT) == "clear"
    gate = GATES["clear"]
    assert (gate.access_mode, gate.suspended, gate.blocks) == ("full", False, frozenset())


def test_a_level_holds_from_its_instant_on_until_the_next() -> None:
    steps = (GateStep(at=AT, level="no_upgrades"), GateStep(at=AT + DAY, level="read_only"))
    found = [
        level_at(steps, at) for at in (AT - TICK, AT, AT + DAY - TICK, AT + DAY, AT + 99 * DAY)
    ]
    assert found == ["clear", "no_upgrades", "no_upgrades", "read_only", "read_only"]
    assert level_at(reversed(steps), AT + DAY) == "read_only"


def test_each_level_closes_what_the_one_below_closes_and_more() -> None:
    access = ("full", "read_only", "none")
    for lower, higher in pairwise(LEVELS):
        below, above = GATES[lower], GATES[higher]
        assert below.blocks <= above.blocks
        assert access.index(below.access_mode) <= access.index(above.access_mode)
        assert below.suspended <= above.suspended
        assert below.compute_stopped <= above.compute_stopped
        assert below != above


@pytest.mark.parametrize("level", LEVELS)
def test_access_is_full_exactly_where_nobody_is_suspended(level: str) -> None:
    [gate] = [gate for name, gate in GATES.items() if name == level]
    assert gate.suspended is (gate.access_mode != "full")


@st.composite
def policies(draw: st.DrawFn) -> DunningPolicy:
    days = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=5)))
    levels = sorted(
        draw(st.sets(st.integers(1, 5), min_size=len(days), max_size=len(days))),
    )
    rungs = tuple(
        Rung(day=day, level=LEVELS[level]) for day, level in zip(days, levels, strict=True)
    )
    threshold = draw(st.integers(0, 50))
    return DunningPolicy(rungs=rungs, thresholds=(Money(minor=threshold, currency="EUR"),))


debts = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 60), st.sampled_from(("EUR", "JPY"))), max_size=4
)


@settings(max_examples=150, deadline=None)
@given(
    policy=policies(),
    owed=debts,
    protected=st.booleans(),
    canceled=st.booleans(),
    hours=st.lists(st.integers(-24, 24 * 120), min_size=1, max_size=20),
)
def test_the_written_steps_are_the_standing_at_every_instant(
    policy: DunningPolicy,
    owed: list[tuple[int, int, str]],
    protected: bool,
    canceled: bool,
    hours: list[int],
) -> None:
    facts = DunningFacts(
        debts=tuple(
            Debt(invoice=f"i{n}", due_at=AT + day * DAY, amount_minor=minor, currency=currency)
            for n, (day, minor, currency) in enumerate(owed)
        ),
        never_suspend=protected,
        canceled=canceled,
    )
    steps = gate_steps(policy, facts)
    instants = [AT + timedelta(hours=hour) for hour in hours]
    instants += [one.at + shift for one in steps for shift in (-TICK, timedelta(), TICK)]
    for now in instants:
        assert level_at(steps, now) == standing(policy, facts, now).level
