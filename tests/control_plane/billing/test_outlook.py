"""Looking ahead: the same moves as a plain forecast, stretches without gaps, sums that add up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.outlook import (
    DEPROVISION_PLANNED,
    MONTHS_MAX,
    Payments,
    Stretch,
    expected_usage,
    foresee,
)
from control_plane.billing.starting import start
from control_plane.domain.gate import level_at
from control_plane.errors import BadInput
from tests.support.books import (
    DAY,
    START,
    Answers,
    begun,
    declined,
    every_hour,
    facts_of,
    final,
    go,
    new_book,
    paid,
)

PLANS = ("team", "pro", "trial", "card_trial", "metered", "by_use", "term", "strict")
PAYMENTS: tuple[Payments, ...] = ("succeed", "fail")
ANSWERS: dict[Payments, Answers] = {"succeed": paid, "fail": declined}


def require_whole(stretches: tuple[Stretch, ...]) -> None:
    """Each begins where the one before ends, and is another."""
    for before, after in pairwise(stretches):
        assert before.until == after.since
        assert before.name != after.name
    assert all(one.since < one.until for one in stretches)


@given(
    plan=st.sampled_from(PLANS),
    months=st.integers(1, 14),
    payments=st.sampled_from(PAYMENTS),
    later=st.integers(0, 40),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_look_ahead_comes_to_what_the_plain_forecast_comes_to(
    plan: str, months: int, payments: Payments, later: int
) -> None:
    now = START + later * DAY
    ours, plain = (go(begun(plan, usage=every_hour), now) for _ in range(2))
    seen = foresee(ours, now, months, payments)
    go(plain, seen.until, ANSWERS[payments])
    numbered = [(one.number, one.total_minor, one.state) for one in final(plain)]
    assert [(one.number, one.total_minor, one.state) for one in final(ours)] == numbered
    assert facts_of(ours)[0] == facts_of(plain)[0]
    assert ours.balances == plain.balances
    for stretches in (seen.states, seen.gates):
        require_whole(stretches)
        assert (stretches[0].since, stretches[-1].until) == (now, seen.until)
    assert seen.states[-1].name == plain.subscription.state
    last = seen.gates[-1]
    assert last.name == level_at(plain.subscription.gates, last.since)
    invoiced_minor = sum(one.invoiced_minor for one in seen.months)
    assert invoiced_minor == sum(one.total_minor for one in final(ours))


@pytest.mark.parametrize("months", [0, -1, MONTHS_MAX + 1])
def test_months_are_from_1_to_36(months: int) -> None:
    with pytest.raises(BadInput, match="months"):
        foresee(begun(), START, months, "succeed")


def test_the_last_day_of_three_years_is_seen() -> None:
    seen = foresee(begun(), START, MONTHS_MAX, "succeed")
    assert seen.until == START.replace(year=2029)
    assert len(seen.months) == MONTHS_MAX + 1


def test_a_first_payment_that_fails_ends_within_a_day_and_its_invoice_is_void() -> None:
    book = new_book("team")
    start(book, START)
    seen = foresee(book, START, 1, "fail")
    assert [one.name for one in seen.states] == ["incomplete", "incomplete_expired"]
    assert seen.states[0].until - START == timedelta(hours=23)
    assert [one.name for one in seen.gates] == ["clear"]
    (january, february) = seen.months
    assert (january.invoiced_minor, february.voided_minor) == (3999, 3999)


def test_the_last_rung_is_named_as_a_planned_deprovisioning() -> None:
    seen = foresee(begun(), START, 4, "fail")
    (planned,) = [one for one in seen.notes if one.kind == DEPROVISION_PLANNED]
    (rung,) = [one for one in seen.gates if one.name == "deprovision"]
    assert (planned.at, planned.detail) == (rung.since, "waits for a human's approval")
    assert [one.at for one in seen.notes] == sorted(one.at for one in seen.notes)
    never = foresee(begun(), START, 4, "succeed")
    assert [one for one in never.notes if one.kind == DEPROVISION_PLANNED] == []


def test_of_a_period_that_is_over_usage_is_what_it_was() -> None:
    known = {"api_calls": Decimal(7)}
    used = expected_usage(lambda _start, _end: known, START, {"api_calls": Decimal(9)})
    assert used(START - 2 * DAY, START) == known


def test_of_the_running_period_usage_is_the_larger_of_known_and_last() -> None:
    known = {"api_calls": Decimal(7), "storage": Decimal(5)}
    last = {"api_calls": Decimal(9), "storage": Decimal(1), "mails": Decimal(2)}
    used = expected_usage(lambda _start, _end: known, START, last)
    whole = {"api_calls": Decimal(9), "storage": Decimal(5), "mails": Decimal(2)}
    assert used(START - DAY, START + DAY) == whole


def test_of_a_period_to_come_usage_is_that_of_the_last_whole_one() -> None:
    def unasked(_start: object, _end: object) -> dict[str, Decimal]:
        raise AssertionError("nobody knows yet")

    last = {"api_calls": Decimal(9)}
    assert expected_usage(unasked, START, last)(START + DAY, START + 2 * DAY) == last
