"""What a plan and its terms come to: components, lines of a period, usage, and what is given back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from control_plane.billing.charging import (
    components,
    credit_lines,
    has_periods,
    is_metered,
    period_lines,
    price_of,
    recurring_minor,
    same_meters,
    unused_minor,
    usage_lines,
)
from control_plane.billing.starting import bill_period
from control_plane.domain.terms import Taken, Terms, Unbilled
from control_plane.errors import Refused
from tests.support.books import DAY, PLANS, START, begun, new_book

TERMS = Terms(
    currency="EUR", anchor_at=START, seats=3, add_ons=(Taken(name="support", quantity=2),)
)
MID = START + 14 * DAY


def test_a_plan_charges_itself_its_seats_and_its_add_ons_ahead() -> None:
    found = components(PLANS.offer("team"), TERMS)
    assert [(one.name, one.quantity, one.price.minor) for one in found] == [
        ("plan", 1, 2999),
        ("seats", 3, 1500),
        ("support", 2, 1400),
    ]
    assert recurring_minor(PLANS.offer("team"), TERMS) == 5899


def test_seats_and_meters_without_a_price_are_not_charged_ahead() -> None:
    bare = TERMS.model_copy(update={"add_ons": ()})
    assert [one.name for one in components(PLANS.offer("metered"), bare)] == ["plan"]
    assert components(PLANS.offer("free"), bare) == ()
    assert components(PLANS.offer("by_use"), bare) == ()


def test_what_is_paid_by_use_alone_has_periods_and_what_is_free_has_none() -> None:
    bare = TERMS.model_copy(update={"add_ons": ()})
    assert [has_periods(PLANS.offer(one), bare) for one in ("free", "team", "by_use")] == [
        False,
        True,
        True,
    ]
    assert [is_metered(PLANS.offer(one)) for one in ("team", "metered")] == [False, True]


def test_two_plans_meter_alike_only_at_the_same_rates() -> None:
    bare = TERMS.model_copy(update={"add_ons": ()})
    team, pro, metered, dear = (PLANS.offer(one) for one in ("team", "pro", "metered", "by_use"))
    assert same_meters(team, pro, bare)
    assert same_meters(metered, metered, bare)
    assert not same_meters(metered, dear, bare)
    assert not same_meters(metered, pro, bare)
    assert not same_meters(pro, metered, bare)


def test_a_component_that_another_interval_has_is_refused_and_none_where_it_is_free() -> None:
    assert price_of(PLANS.offer("pro"), TERMS, "seats") is None
    with pytest.raises(Refused) as caught:
        price_of(PLANS.offer("trial"), TERMS.model_copy(update={"interval": "year"}), "plan")
    assert caught.value.code == "interval_not_offered"


def test_the_lines_of_a_period_are_the_same_whoever_makes_them_and_what_runs_names_them() -> None:
    book = begun()
    first = period_lines(book.offer, book.terms, "invoice_1", book.period)
    assert first == period_lines(book.offer, book.terms, "invoice_1", book.period)
    lines, running = first
    assert [one.line for one in running] == [one.id for one in lines]
    assert {(one.since, one.invoiced_minor) for one in running} == {(START, 2999), (START, 1000)}


def test_what_is_unused_is_the_share_of_the_time_that_is_left_and_nothing_afterwards() -> None:
    book = begun()
    plan, seats = book.subscription.running
    assert [unused_minor(book, plan, at) for at in (START, MID, book.period.end)] == [2999, 1500, 0]
    assert unused_minor(book, seats, book.period.end - timedelta(seconds=1)) == 0
    assert unused_minor(book, plan, book.period.end + 90 * DAY) == 0


def test_what_is_given_back_names_the_line_that_charged_it() -> None:
    book = begun()
    lines = credit_lines(book, book.subscription.running, "invoice_9", MID)
    assert [(one.reference, one.amount_minor) for one in lines] == [
        ("plan", -1500),
        ("seats", -500),
    ]
    assert [one.reverses for one in lines] == [one.line for one in book.subscription.running]
    assert credit_lines(book, book.subscription.running, "invoice_9", book.period.end) == ()


def test_usage_is_priced_at_the_rates_under_which_it_was_used() -> None:
    def by_day(start: datetime, _end: datetime) -> Mapping[str, Decimal]:
        return {"api_calls": Decimal(start.day)}

    book = begun("metered", usage=by_day)
    due = Unbilled(
        invoice="invoice_9",
        plan="by_use",
        plan_version=1,
        terms=book.terms,
        start=START,
        end=MID,
    )
    [line] = usage_lines(book, due)
    assert (line.quantity, line.amount_minor) == (Decimal(31), 93)
    assert (line.period_start, line.period_end) == (START, MID)


def test_a_meter_of_which_nothing_was_used_has_no_line_unless_it_has_a_minimum() -> None:
    book = begun("metered")
    for plan, amounts in (("by_use", []), ("metered", [("minimum", 50)])):
        due = Unbilled(
            invoice="i", plan=plan, plan_version=1, terms=book.terms, start=START, end=MID
        )
        assert [(one.kind, one.amount_minor) for one in usage_lines(book, due)] == amounts


def test_the_anchor_is_kept_while_a_period_is_billed() -> None:
    book = new_book()
    book.revise(
        current_period_start=START,
        current_period_end=datetime(2026, 2, 28, 10, tzinfo=UTC),
    )
    bill_period(book, START)
    assert book.terms.anchor_at == START
