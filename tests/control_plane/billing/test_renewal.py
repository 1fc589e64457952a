"""Periods that follow one another: their ends, their invoices, and what was used in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from control_plane.billing.clockwork import advance
from control_plane.domain.plans import PlanOffer
from control_plane.domain.terms import Terms
from control_plane.errors import Failed, PaybillError, Unavailable
from tests.support.books import (
    DAY,
    HOUR,
    LATER,
    START,
    Auditor,
    begun,
    change,
    declined,
    every_hour,
    final,
    go,
    paid,
    pending,
    state_of,
    sums,
    told,
)


def test_a_day_31_is_shortened_where_a_month_is_short_and_comes_back() -> None:
    book = go(begun(), START + 200 * DAY)
    days = [one.period_start.day for one in final(book) if one.period_start is not None]
    assert days == [31, 28, 31, 30, 31, 30, 31]


def test_a_leap_day_is_kept_by_those_who_began_on_it() -> None:
    leap = datetime(2028, 2, 29, 12, tzinfo=UTC)
    monthly = go(begun(at=leap), leap + 40 * DAY)
    assert monthly.subscription.current_period_end == datetime(2028, 4, 29, 12, tzinfo=UTC)
    yearly = begun(at=leap, terms={"interval": "year"})
    go(yearly, leap + 1_500 * DAY)
    assert told(yearly, "subscription.renewed") == [
        datetime(year, 2, 29 if year == 2032 else 28, 12, tzinfo=UTC) for year in range(2029, 2033)
    ]


def test_a_period_keeps_its_hour_on_the_wall_across_a_change_of_clocks() -> None:
    book = begun(terms={"zone": "Europe/Berlin"})
    go(book, START + 300 * DAY)
    berlin = ZoneInfo("Europe/Berlin")
    hours = {at.astimezone(berlin).hour for at in told(book, "subscription.renewed")}
    assert hours == {11}
    assert len({at.hour for at in told(book, "subscription.renewed")}) == 2


def test_every_period_is_billed_once_and_without_a_gap() -> None:
    book = go(begun(), START + 400 * DAY)
    spans = [(one.period_start, one.period_end) for one in final(book)]
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert {one.total_minor for one in final(book)} == {3999}
    assert {one.state for one in final(book)} == {"paid"}
    Auditor().look(book)


def test_what_was_invoiced_ahead_is_earned_when_its_period_is_over() -> None:
    book = begun()
    assert book.deferred_minor == 3999
    go(book, START + 29 * DAY)
    assert book.deferred_minor == 3999
    assert book.balance_minor("revenue") == -3999


def test_usage_comes_onto_the_invoice_after_it_with_the_next_period_ahead() -> None:
    book = go(begun("metered", usage=every_hour), START + 29 * DAY)
    first, second = final(book)
    assert sums(first) == {"base:plan": 1000}
    assert sums(second) == {"base:plan": 1000, "usage:api_calls": 28 * 24 * 2}
    [used] = [one for one in second.lines if one.kind == "usage"]
    assert (used.period_start, used.period_end) == (START, START + 28 * DAY)


def test_where_less_was_used_than_the_minimum_the_rest_is_a_line_of_its_own() -> None:
    def ten(_start: datetime, _end: datetime) -> Mapping[str, Decimal]:
        return {"api_calls": Decimal(10)}

    few = begun("metered", usage=ten)
    go(few, START + 29 * DAY)
    assert sums(final(few)[1]) == {
        "base:plan": 1000,
        "usage:api_calls": 20,
        "minimum:api_calls": 30,
    }


def test_the_invoice_waits_an_hour_for_usage_that_is_told_late() -> None:
    told_of: dict[str, Decimal] = {"api_calls": Decimal(100)}

    def usage(_start: datetime, _end: datetime) -> Mapping[str, Decimal]:
        return told_of

    book = begun("metered", usage=usage)
    ends = START + 28 * DAY
    go(book, ends + HOUR - timedelta(seconds=1))
    assert [one.state for one in book.invoices.values()] == ["paid", "draft"]
    told_of["api_calls"] = Decimal(101)
    go(book, ends + HOUR)
    told_of["api_calls"] = Decimal(999)
    invoice = final(book)[1]
    assert invoice.finalized_at == ends + HOUR
    assert sums(invoice)["usage:api_calls"] == 202


def test_a_draft_that_nothing_comes_onto_is_deleted_and_takes_no_number() -> None:
    book = go(begun("by_use"), START + 40 * DAY)
    assert [one.state for one in book.invoices.values()] == ["deleted"]
    go(book, START + 100 * DAY)
    assert final(book) == []


def test_a_debt_that_was_past_due_is_still_renewed() -> None:
    book = go(begun(), START + 32 * DAY, declined)
    assert state_of(book) == "past_due"
    assert len(final(book)) == 2
    slow = begun("pro", terms={"collection": "by_invoice", "due_days": 27})
    go(slow, START + 29 * DAY)
    assert state_of(slow) == "past_due"


def test_a_debt_that_ends_it_as_a_period_ends_is_not_billed_for_the_next() -> None:
    # 14 days to pay and 14 on the ladder are one February.
    book = begun("strict", at=START + DAY, terms={"collection": "by_invoice"})
    go(book, LATER)
    assert state_of(book) == "canceled"
    assert len(final(book)) == 1
    Auditor().look(book)


def test_a_smaller_plan_holds_from_the_next_period_on_and_gives_nothing_back() -> None:
    book = begun("pro")
    quoted = change(book, START + 5 * DAY, plan="team")
    assert (quoted.applies, quoted.applies_at) == ("period_end", START + 28 * DAY)
    assert quoted.lines == ()
    go(book, START + 28 * DAY - timedelta(seconds=1))
    assert book.subscription.plan == "pro"
    go(book, START + 28 * DAY)
    assert book.subscription.plan == "team"
    assert [one.total_minor for one in final(book)] == [9999, 3999]


def test_whether_the_tenant_fits_is_asked_again_at_the_periods_end() -> None:
    unfit: list[str] = []

    def asked(_offer: PlanOffer, _terms: Terms) -> tuple[str, ...]:
        return tuple(unfit)

    book = begun("pro", unfit=asked)
    change(book, START + 5 * DAY, plan="team")
    unfit.append("seats")
    go(book, START + 28 * DAY)
    assert book.subscription.plan == "pro"
    assert book.subscription.pending_change is None
    [note] = [one for one in book.notes if one.kind == "subscription.change_unfit"]
    assert note.detail == "seats"


def test_records_that_are_too_many_for_the_smaller_plan_keep_the_larger_one() -> None:
    held = [10]
    book = begun("pro")
    book.sources = replace(book.sources, records=lambda: held[0])
    change(book, START + 5 * DAY, plan="team")
    held[0] = 11
    go(book, START + 28 * DAY)
    assert book.subscription.plan == "pro"
    [note] = [one for one in book.notes if one.kind == "subscription.change_unfit"]
    assert note.detail == "records"


@pytest.mark.parametrize("error", [Unavailable, Failed])
def test_a_period_ends_as_agreed_whether_or_not_records_can_be_counted(
    error: type[PaybillError],
) -> None:
    book = begun("pro")
    change(book, START + 5 * DAY, plan="team")

    def silent() -> int:
        raise error

    book.sources = replace(book.sources, records=silent)
    go(book, START + 28 * DAY)
    assert book.subscription.plan == "team"


def test_usage_before_a_downgrade_is_billed_at_the_rates_of_then() -> None:
    book = begun("metered", usage=every_hour)
    change(book, START + DAY, plan="team")
    go(book, START + 60 * DAY)
    assert [sums(one).get("usage:api_calls") for one in final(book)] == [None, 28 * 24 * 2, None]


def test_the_free_plan_at_a_periods_end_bills_what_was_used_and_no_more() -> None:
    book = begun("metered", usage=every_hour)
    change(book, START + DAY, plan="free")
    go(book, LATER)
    assert state_of(book) == "active"
    assert book.subscription.current_period_end is None
    assert [sums(one) for one in final(book)] == [
        {"base:plan": 1000},
        {"usage:api_calls": 28 * 24 * 2},
    ]
    assert book.deferred_minor == 0


def test_another_interval_begins_with_the_next_period_where_nothing_more_is_had() -> None:
    book = begun()
    quoted = change(book, START + 5 * DAY, interval="year")
    assert quoted.applies == "period_end"
    go(book, START + 29 * DAY)
    assert final(book)[1].total_minor == 29990 + 2 * 5000
    assert book.terms.anchor_at == START + 28 * DAY
    assert book.subscription.current_period_end == datetime(2027, 2, 28, 10, tzinfo=UTC)


def test_a_change_whose_payment_is_under_way_at_the_periods_end_leaves_the_books_whole() -> None:
    for answer in (paid, declined):
        book, auditor = begun(), Auditor()
        auditor.look(book)
        go(book, START + 28 * DAY - HOUR)
        change(book, START + 28 * DAY - HOUR, plan="pro", interval="year")
        go(book, START + 28 * DAY - HOUR, pending)
        advance(book, START + 28 * DAY)
        book.refresh()
        auditor.look(book)
        assert (book.subscription.plan, len(told(book, "subscription.renewed"))) == ("team", 1)
        go(book, START + 30 * DAY, answer)
        auditor.look(book)
        assert book.subscription.plan == "team"
        assert book.subscription.pending_change is None
        # Nothing of what came to nothing is earned, or still to be earned.
        assert (book.deferred_minor, book.balance_minor("revenue")) == (3999, -3999)
        assert (book.credit_minor > 0) is (answer is paid)


@pytest.mark.parametrize("plan", ["team", "metered", "by_use", "term"])
def test_a_sweep_that_comes_late_comes_to_the_same_invoices(plan: str) -> None:
    agreed = {"collection": "by_invoice", "due_days": 365, "zone": "America/New_York"}
    often = begun(plan, usage=every_hour, terms=agreed)
    late = begun(plan, usage=every_hour, terms=agreed)
    for day in range(1, 301):
        advance(often, START + day * DAY)
    advance(late, START + 300 * DAY)
    assert often.subscription == late.subscription
    assert often.invoices == late.invoices
    assert often.notes == late.notes
    assert [one.id for one in often.entries] == [one.id for one in late.entries]
