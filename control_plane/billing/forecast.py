"""A book driven forward under a test clock, with payments that are answered by a rule. Books nothing for real.

The moves are those of the real thing, so what it shows is what would happen, as far as the future
follows from what is known: usage is what is given, and payments end as the rule says.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance, next_due_at
from control_plane.billing.collecting import attempt_due_at, begin, question_due_at, take_in
from control_plane.billing.provider import Answer, probed, settled
from control_plane.billing.refunding import heard, refund_due_at
from control_plane.billing.refunding import take_in as take_in_refund
from control_plane.domain.payment import PaymentAttempt
from control_plane.errors import BadInput

Answers: TypeAlias = Callable[[PaymentAttempt], Answer]
"""What the provider would say of an attempt, when it is made and when it is asked about."""

STOPS_MAX: Final = 100_000


def run(book: Book, until: datetime, answers: Answers) -> int:
    """Everything that would happen by `until`, in its order; how many instants there were.

    BadInput where it would be more than 100,000.
    """
    for stops in range(STOPS_MAX):
        at = next_due_at(book)
        if at is None or at > until:
            advance(book, until)
            return stops
        advance(book, at)
        collect(book, at, answers)
        book.refresh()
    raise BadInput("months", "is more than a forecast can show")


def collect(book: Book, at: datetime, answers: Answers) -> None:
    """Every attempt, question and refund that is due at `at`; what was promised is given back."""
    for invoice in book.owed():
        due_at = attempt_due_at(book, invoice)
        if due_at is None or due_at > at:
            continue
        attempt = begin(book, invoice.id, at)
        if attempt.state == "processing":
            take_in(book, settled(attempt, answers(attempt), at), at)
    for attempt in sorted(book.attempts.values(), key=lambda one: one.id):
        due_at = question_due_at(book, attempt)
        if due_at is not None and due_at <= at:
            take_in(book, probed(attempt, answers(attempt), at), at)
    for refund in sorted(book.refunds.values(), key=lambda one: one.id):
        due_at = refund_due_at(refund)
        if due_at is not None and due_at <= at:
            take_in_refund(book, heard(refund, Answer(kind="succeeded"), at), at)
