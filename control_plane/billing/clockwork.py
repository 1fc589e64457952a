"""What time alone makes due in a book, and the doing of it at its own instant. Not a clock, and no provider.

A sweep that comes late does everything in order and as of the instant at which it fell due: it comes
to the same invoices and states as one that came in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from control_plane.billing.arrears import close_draft
from control_plane.billing.book import Book
from control_plane.billing.by_hand import is_by_hand
from control_plane.billing.collecting import attempt_due_at, question_due_at
from control_plane.billing.coupons import is_covered
from control_plane.billing.dunning import standing, subscription_event
from control_plane.billing.ending import end, pause_at_trial_end, resume
from control_plane.billing.plan_change import drop_change, is_under_way
from control_plane.billing.refunding import refund_due_at
from control_plane.billing.renewal import renew
from control_plane.billing.starting import begin_at, end_trial

MOVES_MAX: Final = 10_000  # of one sweep over one tenant: decades of months and their debts


class Due(NamedTuple):
    """Something that time makes due: when, in which order among equals, and what is to be done."""

    at: datetime
    order: int
    move: Callable[[Book, datetime], None]


def advance(book: Book, now: datetime) -> int:
    """Do everything that has fallen due by `now`, in its order; how many moves it was."""
    for moves in range(MOVES_MAX):
        book.refresh()
        due = next_move(book)
        if due is None or due.at > now:
            return moves
        due.move(book, due.at)
    raise AssertionError("a book comes to rest")


def next_move(book: Book) -> Due | None:
    """The first thing that time alone makes due, which may lie in the past; None where nothing is."""
    return min(_dues(book), key=lambda one: one[:2], default=None)


def next_due_at(book: Book) -> datetime | None:
    """When to look at the book again: a move, an attempt, a refund, or a question to the provider."""
    found = [one.at for one in _dues(book)]
    found += [at for one in book.owed() if (at := attempt_due_at(book, one)) is not None]
    found += [
        at for one in book.attempts.values() if (at := question_due_at(book, one)) is not None
    ]
    found += [at for one in book.refunds.values() if (at := refund_due_at(one)) is not None]
    return min(found, default=None)


def _dues(book: Book) -> Iterator[Due]:
    yield from _starts(book)
    yield from _draft(book)
    yield from _ends(book)
    yield from _debts(book)
    yield from _renewal(book)
    yield from _change(book)


def _starts(book: Book) -> Iterator[Due]:
    subscription = book.subscription
    if subscription.state == "scheduled" and subscription.starts_at is not None:
        yield Due(subscription.starts_at, 0, begin_at)


def _draft(book: Book) -> Iterator[Due]:
    due = book.subscription.unbilled
    if due is not None:
        deadline = book.invoices[due.invoice].collection_deadline
        assert deadline is not None, "a draft that waits has a deadline"
        yield Due(deadline, 1, close_draft)


def _ends(book: Book) -> Iterator[Due]:
    subscription = book.subscription
    by_invoice = subscription.terms is not None and subscription.terms.collection == "by_invoice"
    pays = by_invoice or subscription.method is not None or not book.offer.priced
    pays = pays or (subscription.terms is not None and is_covered(book))
    trial = book.offer.trial
    instants = {
        "end_period": subscription.current_period_end,
        "expire_incomplete": subscription.incomplete_ends_at,
        "end_trial_paused": subscription.trial_ends_at,
        "end_trial_canceled": subscription.trial_ends_at,
        "end_term": subscription.term_ends_at,
        "resume": subscription.paused_until,
    }
    for at in sorted({one for one in instants.values() if one is not None}):
        event = subscription.due_event(
            at, has_method=pays, at_trial_end="pause" if trial is None else trial.at_trial_end
        )
        if event is not None:
            since = subscription.method_set_at if event == "resume" else None
            # A pause that is over goes on without a method, and ends when there is one.
            yield Due(at if since is None else max(at, since), 2, _ender(event))
            return
    if subscription.state == "trialing" and pays and subscription.trial_ends_at is not None:
        yield Due(subscription.trial_ends_at, 3, end_trial)


def _ender(event: str) -> Callable[[Book, datetime], None]:
    if event == "end_trial_paused":
        return pause_at_trial_end
    if event == "resume":
        return resume
    return lambda book, at: end(book, event, at)


def _renewal(book: Book) -> Iterator[Due]:
    subscription = book.subscription
    if subscription.billable and subscription.current_period_end is not None:
        yield Due(subscription.current_period_end, 5, renew)


def _change(book: Book) -> Iterator[Due]:
    change = book.subscription.pending_change
    if change is None or change.expires_at is None or is_under_way(book, change.invoice):
        return
    yield Due(change.expires_at, 6, drop_change)


def _debts(book: Book) -> Iterator[Due]:
    subscription = book.subscription
    if subscription.terms is None:
        return
    if subscription.state == "active":
        # Collected by itself, a debt is told by the attempt that failed.
        if is_by_hand(subscription) and subscription.gates:
            yield Due(_not_before(book, subscription.gates[0].at), 4, _overdue)
        return
    policy, facts = book.offer.dunning, book.dunning_facts()
    for step in subscription.gates:
        event = subscription_event(subscription.state, standing(policy, facts, step.at), policy)
        if event is not None:
            # Before a renewal: nobody is billed for a period that a debt has ended as it began.
            yield Due(_not_before(book, step.at), 4, _ender(event))
            return


def _not_before(book: Book, at: datetime) -> datetime:
    """When a debt moves the subscription that was to do so at `at`: in a pause, or untried, it did not.

    So no earlier than a payment failed, or than the period began that is running now.
    """
    failed = (
        tried.changed_at
        for one in book.owed()
        for tried in book.attempts_of(one.id)
        if tried.state in ("failed", "canceled")
    )
    return max(at, book.subscription.current_period_start or at, *failed)


def _overdue(book: Book, at: datetime) -> None:
    book.fire("invoice_overdue", at)
