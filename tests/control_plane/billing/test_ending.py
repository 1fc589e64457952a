"""How a subscription ends, pauses, or is kept after all, and what is given back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance, next_due_at
from control_plane.billing.ending import cancel_later, cancel_now, keep, pause, resume
from control_plane.domain.machine import IllegalTransition
from control_plane.errors import BadInput, Refused
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

MID = START + 14 * DAY


def test_who_cancels_now_is_credited_for_what_is_unused() -> None:
    book = begun()
    cancel_now(book, MID, "x")
    assert state_of(book) == "canceled"
    assert book.credit_minor == 1500 + 500
    assert book.deferred_minor == 0
    assert sums(final(book)[-1]) == {
        "proration_credit:plan": -1500,
        "proration_credit:seats": -500,
        "credit_carried:balance": 2000,
    }
    go(book, LATER)
    assert next_due_at(book) is None
    Auditor().look(book)


def test_what_is_unused_pays_for_what_is_owed_first() -> None:
    book = go(begun(), START + 28 * DAY, declined)
    cancel_now(book, START + 42 * DAY + 12 * HOUR, "x")
    debt = final(book)[1]
    assert debt.allocated_minor == sum(
        -one.amount_minor for one in final(book)[-1].lines if one.kind == "proration_credit"
    )
    assert book.credit_minor == 0
    Auditor().look(book)


def test_what_was_used_until_then_comes_onto_a_last_invoice_an_hour_later() -> None:
    book = begun("metered", usage=every_hour)
    cancel_now(book, MID, "x")
    go(book, MID + HOUR - timedelta(seconds=1))
    assert len(final(book)) == 2
    go(book, MID + HOUR)
    assert sums(final(book)[-1]) == {"usage:api_calls": 14 * 24 * 2}
    assert book.credit_minor == 0


def test_one_whose_period_was_over_before_its_debt_was_paid_can_still_be_canceled() -> None:
    slow = go(begun(), START + 42 * DAY, declined)
    assert state_of(slow) == "unpaid"
    slow.revise(never_suspend=True)
    late = slow.subscription.current_period_end
    assert late is not None
    go(slow, late + 20 * DAY, declined)
    assert state_of(slow) == "unpaid"
    cancel_now(slow, late + 20 * DAY, "x")
    assert state_of(slow) == "canceled"
    assert slow.deferred_minor == 0
    Auditor().look(slow)


def test_who_cancels_for_later_keeps_everything_until_the_periods_end() -> None:
    book = begun()
    cancel_later(book, MID)
    end = START + 28 * DAY
    assert book.subscription.entitled(end - timedelta(seconds=1))
    assert not book.subscription.entitled(end)
    go(book, end)
    assert state_of(book) == "canceled"
    assert told(book, "subscription.end_period") == [end]
    assert len(final(book)) == 1
    assert book.credit_minor == 0


def test_a_cancel_for_later_can_be_undone_until_then() -> None:
    book = begun()
    cancel_later(book, MID)
    keep(book, MID + DAY)
    go(book, START + 29 * DAY)
    assert state_of(book) == "active"
    assert len(final(book)) == 2


def test_a_cancel_for_later_drops_the_change_that_waits() -> None:
    book = begun("pro")
    change(book, MID, plan="team")
    cancel_later(book, MID)
    assert book.subscription.pending_change is None
    assert go(book, LATER).subscription.plan == "pro"


def _ending(book: Book) -> Book:
    cancel_later(book, MID)
    return book


MISTAKES: tuple[tuple[Callable[[Book], None], str], ...] = (
    (lambda book: cancel_later(_ending(book), MID), "already_ending"),
    (lambda book: keep(book, MID), "not_ending"),
    (lambda book: pause(book, MID, MID, "x"), "bad_input"),
    (lambda book: resume(book, MID), "illegal_transition"),
)


@pytest.mark.parametrize(("command", "code"), MISTAKES)
def test_what_makes_no_sense_is_refused_by_its_name(
    command: Callable[[Book], None], code: str
) -> None:
    with pytest.raises((Refused, BadInput)) as caught:
        command(begun())
    assert caught.value.code == code


def test_without_a_period_nothing_ends_with_it() -> None:
    book = free_book()
    with pytest.raises(Refused) as caught:
        cancel_later(book, MID)
    assert caught.value.code == "no_period"
    cancel_now(book, MID, "x")
    assert state_of(book) == "canceled"


def test_nothing_ends_twice() -> None:
    book = begun()
    cancel_now(book, MID, "x")
    held = facts_of(book)
    with pytest.raises(IllegalTransition):
        cancel_now(book, MID, "y")
    assert facts_of(book) == held


def test_an_instant_before_what_runs_is_refused_and_leaves_nothing_behind() -> None:
    book = begun("pro")
    change(book, MID, plan="team")
    held = facts_of(book)
    with pytest.raises(BadInput):
        cancel_now(book, START - DAY, "x")
    assert facts_of(book) == held
    with pytest.raises(BadInput):
        pause(book, LATER, START - DAY, "x")
    assert facts_of(book) == held


def test_a_pause_bills_nothing_and_its_end_begins_a_new_period() -> None:
    book = begun()
    pause(book, MID + 20 * DAY, MID, "x")
    assert state_of(book) == "paused"
    assert not book.subscription.entitled(MID + DAY)
    assert book.credit_minor == 2000
    go(book, MID + 20 * DAY - timedelta(seconds=1))
    assert len(final(book)) == 2
    go(book, MID + 20 * DAY)
    assert state_of(book) == "active"
    assert book.subscription.current_period_start == MID + 20 * DAY
    assert book.terms.anchor_at == MID + 20 * DAY
    # The credit paid half of it.
    assert [one.amount_minor for one in book.attempts.values()] == [3999, 1999]
    Auditor().look(book)


def test_a_pause_is_ended_early_on_request() -> None:
    book = begun()
    pause(book, MID + 20 * DAY, MID, "x")
    resume(book, MID + DAY)
    go(book, MID + 21 * DAY)
    assert told(book, "subscription.resume") == [MID + DAY]
    assert book.subscription.paused_until is None


def test_a_pause_without_a_method_goes_on_until_there_is_one() -> None:
    book = begun()
    pause(book, MID + 20 * DAY, MID, "x")
    book.revise(method=None)
    go(book, MID + 40 * DAY)
    assert state_of(book) == "paused"
    assert next_due_at(book) is None
    held = facts_of(book)
    with pytest.raises(Refused) as caught:
        resume(book, MID + 40 * DAY)
    assert caught.value.code == "payment_method_required"
    assert facts_of(book) == held


def test_the_pause_of_a_free_plan_ends_without_a_method() -> None:
    book = free_book(method=False)
    pause(book, MID + DAY, MID, "x")
    assert state_of(go(book, MID + DAY)) == "active"


def test_a_plan_that_may_not_be_paused_is_not() -> None:
    book = begun("strict")
    with pytest.raises(Refused) as caught:
        pause(book, LATER, MID, "x")
    assert caught.value.code == "pause_not_offered"


def test_a_fixed_term_ends_with_its_last_period() -> None:
    book = begun("term")
    end = datetime(2026, 3, 31, 10, tzinfo=UTC)
    assert book.subscription.term_ends_at == end
    go(book, LATER)
    assert state_of(book) == "expired"
    assert told(book, "subscription.end_term") == [end]
    assert [one.total_minor for one in final(book)] == [3000, 3000]
    assert (book.credit_minor, book.deferred_minor) == (0, 0)


def test_a_fixed_term_ends_also_for_one_in_debt_who_is_billed_for_no_more() -> None:
    book = begun("term", terms={"collection": "by_invoice", "due_days": 50})
    go(book, START + 58 * DAY)
    assert state_of(book) == "past_due"
    go(book, LATER)
    assert state_of(book) == "expired"
    assert len(final(book)) == 2


def test_a_fixed_term_ends_also_in_a_pause() -> None:
    book = begun("term")
    pause(book, LATER, MID, "x")
    assert state_of(go(book, LATER)) == "expired"
    assert len(final(book)) == 2


def test_a_term_that_a_pause_has_cut_into_a_period_gives_the_rest_back() -> None:
    book = begun("term")
    pause(book, MID + DAY, MID, "x")
    go(book, LATER)
    assert state_of(book) == "expired"
    back = final(book)[-1]
    [line] = [one for one in back.lines if one.kind == "proration_credit"]
    assert line.period_start == datetime(2026, 3, 31, 10, tzinfo=UTC)
    assert book.credit_minor == -line.amount_minor > 0
    Auditor().look(book)


def test_a_trial_that_was_paused_begins_its_term_when_it_is_resumed() -> None:
    offer = begun("term").sources.plans.offer("term")
    trial = begun("trial").sources.plans.offer("trial").trial
    plans = begun().sources.plans.model_copy(
        update={"plans": (offer.model_copy(update={"trial": trial}),)}
    )
    book = go(new_book("term", plans=plans), START)
    assert state_of(book) == "trialing"
    pause(book, MID, START + DAY, "x")
    go(book, MID)
    assert book.subscription.term_ends_at == datetime(2026, 4, 14, 10, tzinfo=UTC)


def test_a_cancel_while_the_first_payment_is_under_way_leaves_its_money_as_credit() -> None:
    book = new_book()
    advance(book, START)
    go(book, START, pending)
    cancel_now(book, START + HOUR / 2, "x")
    go(book, START + 2 * HOUR)
    assert state_of(book) == "canceled"
    assert book.credit_minor == 3999
    Auditor().look(book)
