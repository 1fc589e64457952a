"""What is billed after it was used: which time counts, the draft that waits, and the last invoice."""

from __future__ import annotations

from control_plane.billing.arrears import close_draft, end_billing, unbilled
from control_plane.billing.clockwork import advance
from control_plane.billing.ending import cancel_now
from tests.support.books import (
    DAY,
    HOUR,
    START,
    Auditor,
    begun,
    change,
    every_hour,
    facts_of,
    final,
    go,
    new_book,
    state_of,
    sums,
)

RENEWAL = START + 28 * DAY


def test_only_the_time_of_a_plan_that_meters_counts() -> None:
    assert unbilled(begun(), START + DAY, "i") is None
    assert unbilled(begun("metered"), START, "i") is None
    due = unbilled(begun("metered"), START + DAY, "i")
    assert due is not None
    assert (due.start, due.end, due.plan) == (START, START + DAY, "metered")


def test_a_trial_and_a_first_invoice_that_is_not_paid_count_for_nothing() -> None:
    trial = go(new_book("trial"), START)
    assert state_of(trial) == "trialing"
    assert unbilled(trial, START + DAY, "i") is None
    first = new_book("metered")
    advance(first, START)
    assert state_of(first) == "incomplete"
    assert unbilled(first, START + DAY, "i") is None


def test_the_draft_has_the_charges_ahead_and_takes_the_usage_at_its_end() -> None:
    book = begun("metered", usage=every_hour)
    advance(book, RENEWAL)
    due = book.subscription.unbilled
    assert due is not None
    draft = book.invoices[due.invoice]
    assert (draft.state, draft.total_minor, draft.number) == ("draft", 1000, None)
    assert draft.collection_deadline == RENEWAL + HOUR
    close_draft(book, RENEWAL + HOUR)
    assert book.subscription.unbilled is None
    assert book.invoices[due.invoice].total_minor == 1000 + 1344
    held = facts_of(book)
    close_draft(book, RENEWAL + HOUR)
    assert facts_of(book) == held


def test_a_change_closes_the_draft_before_it() -> None:
    book = begun("metered", usage=every_hour)
    advance(book, RENEWAL)
    change(book, RENEWAL + HOUR / 4, plan="term")
    ended = final(book)[1]
    assert ended.finalized_at == RENEWAL + HOUR / 4
    assert sums(ended)["usage:api_calls"] == 1344


def test_nothing_that_was_used_is_billed_twice_whatever_ends_the_period() -> None:
    book, auditor = begun("metered", usage=every_hour), Auditor()
    change(book, START + 3 * DAY, "a", plan="by_use")
    auditor.look(go(book, START + 4 * DAY))
    change(book, START + 8 * DAY, "b", plan="term")
    auditor.look(go(book, START + 9 * DAY))
    cancel_now(book, START + 12 * DAY, "x")
    auditor.look(go(book, START + 20 * DAY))
    used = [line for one in final(book) for line in one.lines if line.kind == "usage"]
    assert [(int(one.quantity), one.amount_minor) for one in used] == [(72, 144), (120, 360)]


def test_once_nothing_runs_any_more_nothing_comes() -> None:
    book = begun("metered", usage=every_hour)
    end_billing(book, START + DAY)
    assert (book.subscription.running, book.subscription.current_period_end) == ((), None)
    end_billing(book, START + DAY)
    assert sums(final(book)[-1]) == {"usage:api_calls": 48, "minimum:api_calls": 2}
    assert book.subscription.unbilled is None
