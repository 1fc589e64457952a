"""How a subscription begins: trial, first invoice, its 23 hours, and beginning again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance, next_due_at
from control_plane.billing.ending import cancel_later, cancel_now, pause, resume
from control_plane.billing.starting import check_terms, start
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.terms import Method, Taken, Terms
from control_plane.errors import BadInput, Refused
from tests.support.books import (
    DAY,
    HOUR,
    LATER,
    PLANS,
    START,
    begun,
    change,
    declined,
    every_hour,
    facts_of,
    final,
    free_book,
    go,
    new_book,
    pending,
    state_of,
    sums,
    told,
)

CARD = Method(provider="sandbox", reference="card")


def test_a_first_invoice_that_is_paid_makes_it_active_for_the_period_it_charges() -> None:
    book = new_book()
    start(book, START)
    assert state_of(book) == "incomplete"
    assert not book.subscription.entitled(START)
    go(book, START)
    [invoice] = final(book)
    assert state_of(book) == "active"
    assert sums(invoice) == {"base:plan": 2999, "seats:seats": 1000}
    assert (invoice.period_start, invoice.period_end) == (
        START,
        datetime(2026, 2, 28, 10, tzinfo=UTC),
    )
    assert book.subscription.incomplete_ends_at is None


def test_a_first_invoice_that_is_not_paid_is_void_after_23_hours_and_nothing_came_of_it() -> None:
    book = new_book()
    start(book, START)
    go(book, START + 23 * HOUR - timedelta(seconds=1), declined)
    assert state_of(book) == "incomplete"
    go(book, START + 23 * HOUR, declined)
    [invoice] = final(book)
    assert state_of(book) == "incomplete_expired"
    assert (invoice.state, invoice.due_minor) == ("void", 0)
    assert book.balances == {}
    assert next_due_at(book) is None


def test_a_first_invoice_that_was_paid_in_part_from_credit_gives_the_credit_back() -> None:
    book = begun()
    cancel_now(book, START + 14 * DAY, "x")
    credit = book.credit_minor
    again = new_book("pro", at=START + 15 * DAY, id="sub_2")
    again.balances, again.sources = book.balances, book.sources
    start(again, START + 15 * DAY)
    assert again.credit_minor == 0
    go(again, START + 17 * DAY, declined)
    assert state_of(again) == "incomplete_expired"
    assert again.credit_minor == credit > 0
    assert [one.kind for one in again.credit_notes] == ["reduction", "balance"]


def test_a_first_invoice_that_credit_pays_whole_leaves_nothing_to_wait_for() -> None:
    book = begun("pro")
    cancel_now(book, START + DAY, "x")
    again = new_book(at=START + 2 * DAY, id="sub_2", method=True)
    again.balances, again.sources = book.balances, book.sources
    start(again, START + 2 * DAY)
    assert state_of(again) == "active"
    assert [one.state for one in final(again)] == ["paid"]


def test_a_first_invoice_is_void_when_it_is_canceled_before_it_is_paid() -> None:
    book = new_book()
    start(book, START)
    go(book, START, pending)
    cancel_now(book, START + HOUR, "x")
    assert [one.state for one in final(book)] == ["void"]
    assert book.balances == {}


def test_without_a_method_nothing_begins_that_collects_by_itself() -> None:
    book = new_book(method=False)
    before = facts_of(book)
    with pytest.raises(Refused) as caught:
        start(book, START)
    assert caught.value.code == "payment_method_required"
    assert facts_of(book) == before


def test_one_that_was_to_start_by_itself_without_a_method_waits_23_hours_for_one() -> None:
    book = new_book(method=False)
    advance(book, START - timedelta(seconds=1))
    assert state_of(book) == "scheduled"
    go(book, START + HOUR)
    assert state_of(book) == "incomplete"
    book.revise(method=CARD, method_set_at=START + 2 * HOUR)
    go(book, START + 2 * HOUR)
    assert state_of(book) == "active"
    forgotten = go(new_book(method=False), LATER)
    assert state_of(forgotten) == "incomplete_expired"


def test_by_invoice_it_is_active_at_once_and_has_its_days_to_pay() -> None:
    book = new_book(method=False, terms={"collection": "by_invoice", "due_days": 14})
    start(book, START)
    [invoice] = final(book)
    assert state_of(book) == "active"
    assert invoice.due_at == START + 14 * DAY
    go(book, START + 14 * DAY - timedelta(seconds=1))
    assert state_of(book) == "active"
    assert not book.attempts
    go(book, START + 14 * DAY)
    assert state_of(book) == "past_due"


def test_a_trial_bills_nothing_and_then_the_first_period_with_its_own_anchor() -> None:
    book = new_book("trial", usage=every_hour)
    start(book, START)
    assert state_of(book) == "trialing"
    go(book, START + 14 * DAY - timedelta(seconds=1))
    assert not book.invoices
    go(book, START + 14 * DAY)
    [invoice] = final(book)
    assert sums(invoice) == {"base:plan": 4000}
    assert (state_of(book), invoice.state) == ("active", "paid")
    assert book.terms.anchor_at == book.subscription.current_period_start == START + 14 * DAY


def test_what_was_used_in_a_trial_is_never_billed() -> None:
    went_on = go(new_book("trial", usage=every_hour), START + 46 * DAY)
    used = [line for one in final(went_on) for line in one.lines if line.kind == "usage"]
    assert [one.quantity for one in used] == [28 * 24]
    ends: tuple[Callable[[Book], None], ...] = (
        lambda book: cancel_now(book, START + 5 * DAY, "x"),
        lambda book: pause(book, START + 9 * DAY, START + 5 * DAY, "x"),
        lambda book: cancel_later(book, START + 5 * DAY),
        lambda book: book.revise(method=None, method_set_at=None),
    )
    for end in ends:
        book = go(new_book("trial", usage=every_hour), START + 5 * DAY)
        end(book)
        book.revise(method=None)
        go(book, START + 40 * DAY)
        assert state_of(book) in ("canceled", "paused")
        assert not book.balances


def test_a_trial_without_a_method_pauses_or_ends_as_the_plan_says() -> None:
    paused = go(new_book("trial", method=False), LATER)
    assert state_of(paused) == "paused"
    assert told(paused, "subscription.end_trial_paused") == [START + 14 * DAY]
    canceled = go(new_book("card_trial"), START + DAY)
    canceled.revise(method=None)
    assert state_of(go(canceled, LATER)) == "canceled"


def test_a_trial_that_needs_a_method_does_not_begin_without_one() -> None:
    with pytest.raises(Refused) as caught:
        start(new_book("card_trial", method=False), START)
    assert caught.value.code == "payment_method_required"
    by_itself = go(new_book("card_trial", method=False), START)
    assert state_of(by_itself) == "incomplete"


def test_a_trial_is_had_once() -> None:
    book = new_book("trial")
    start(book, START, first=False)
    assert state_of(book) == "incomplete"
    # Nor does the clock, or whoever starts it, give another after one that was had, or cut short.
    for had in (START - DAY, START - 400 * DAY):
        again, by_itself = (new_book("trial", trial_ends_at=had) for _ in range(2))
        start(again, START)
        advance(by_itself, START)
        assert state_of(again) == state_of(by_itself) == "incomplete"


def test_a_trial_that_is_paused_is_over_and_was_had() -> None:
    book = go(new_book("trial"), START)
    pause(book, START + 9 * DAY, START + 5 * DAY, "x")
    assert book.subscription.trial_ends_at == START + 5 * DAY
    go(book, START + 9 * DAY)
    assert state_of(book) == "active"
    assert [one.total_minor for one in final(book)] == [4000]


def test_a_change_brings_no_trial() -> None:
    book = free_book(method=True)
    change(book, START, plan="trial", currency="EUR")
    go(book, START)
    assert (state_of(book), book.subscription.plan) == ("active", "trial")
    assert [one.total_minor for one in final(book)] == [4000]


def test_a_trial_whose_first_invoice_is_declined_is_past_due() -> None:
    book = go(new_book("trial"), START + 14 * DAY, declined)
    assert state_of(book) == "past_due"
    assert book.subscription.entitled(START + 14 * DAY)


def test_a_paused_trial_is_resumed_with_a_method_and_is_then_billed() -> None:
    book = go(new_book("trial", method=False), START + 20 * DAY)
    with pytest.raises(Refused) as caught:
        resume(book, START + 20 * DAY)
    assert caught.value.code == "payment_method_required"
    book.revise(method=CARD, method_set_at=START + 20 * DAY)
    resume(book, START + 20 * DAY)
    go(book, START + 20 * DAY)
    assert state_of(book) == "active"
    assert [one.total_minor for one in final(book)] == [4000]


def test_a_free_plan_begins_with_nothing_due_and_no_period() -> None:
    book = new_book("free", method=False)
    start(book, START)
    assert state_of(book) == "active"
    assert book.subscription.current_period_end is None
    assert next_due_at(book) is None


def test_a_plan_that_is_paid_by_use_alone_has_periods_and_bills_them() -> None:
    book = go(begun("by_use", usage=every_hour), START + 29 * DAY)
    [invoice] = final(book)
    assert sums(invoice) == {"usage:api_calls": 28 * 24 * 3}
    assert invoice.state == "paid"


def test_nothing_that_runs_is_started_again() -> None:
    book = begun()
    before = facts_of(book)
    with pytest.raises(IllegalTransition):
        start(book, START + DAY)
    assert facts_of(book) == before


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"zone": "Nowhere/Atall"}, "bad_input"),
        ({"seats": 51}, "bad_input"),
        ({"add_ons": (Taken(name="support", quantity=4),)}, "bad_input"),
        ({"add_ons": (Taken(name="unheard", quantity=1),)}, "add_on_not_offered"),
        ({"currency": "USD"}, "currency_not_offered"),
    ],
)
def test_terms_that_a_plan_is_not_offered_on_are_refused(
    terms: dict[str, object], code: str
) -> None:
    agreed = Terms.model_validate({"currency": "EUR", "anchor_at": START, **terms})
    with pytest.raises((BadInput, Refused)) as caught:
        check_terms(PLANS.offer("team"), agreed)
    assert caught.value.code == code


def test_an_interval_that_a_plan_is_not_offered_for_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        check_terms(PLANS.offer("trial"), Terms(currency="EUR", anchor_at=START, interval="year"))
    assert caught.value.code == "interval_not_offered"


def test_nothing_is_resumed_at_the_very_instant_at_which_its_period_began() -> None:
    book = begun()
    pause(book, START + DAY, START, "x")
    before = facts_of(book)
    with pytest.raises(Refused) as caught:
        resume(book, START)
    assert caught.value.code == "same_instant"
    assert facts_of(book) == before
    resume(book, START + timedelta(microseconds=1))
    assert state_of(book) == "active"


def test_days_and_hours_are_those_of_the_clock_of_the_world_in_whatever_zone_it_is_told() -> None:
    # In the night to 29 March 2026, Berlin has a day of 23 hours.
    at = datetime(2026, 3, 28, 12, tzinfo=UTC)
    for plan, terms in (("trial", {}), ("team", {}), ("team", {"collection": "by_invoice"})):
        here, there = new_book(plan, at=at, terms=terms), new_book(plan, at=at, terms=terms)
        start(here, at)
        start(there, at.astimezone(ZoneInfo("Europe/Berlin")))
        assert facts_of(here) == facts_of(there)
