"""Attempts of the provider `manual`, which a human's word ends: nobody else knows of the money. Not the word itself.

A transfer is written down on its invoice, as any other. The attempt only stood for it, so it is
closed without a payment of its own: money is booked once, and goes back as a transfer does.
"""

from __future__ import annotations

from datetime import datetime

from control_plane.billing.book import Book
from control_plane.billing.plan_change import drop_change
from control_plane.billing.provider import BY_HAND, Answer, settled
from control_plane.domain.payment import IN_FLIGHT
from control_plane.domain.subscription import Subscription


def is_by_hand(subscription: Subscription) -> bool:
    """Whether the customer is to pay by itself: then a debt is told by its date, not by an attempt."""
    terms, method = subscription.terms, subscription.method
    invoiced = terms is not None and terms.collection == "by_invoice"
    return invoiced or (method is not None and method.provider == BY_HAND)


def close_paid(book: Book, invoice_id: str, at: datetime) -> None:
    """Close what stood for money that was written down, once nothing is due any more."""
    if book.invoices[invoice_id].due_minor <= 0:
        _close(book, invoice_id, at)


def close_for_another_method(book: Book, at: datetime) -> None:
    """Close what waits by hand, since another method is to collect it.

    A change that waited for it is given up: what has to be paid first is tried once.
    """
    for invoice in book.owed():
        closed = _close(book, invoice.id, at)
        change = book.subscription.pending_change
        if closed and change is not None and change.invoice == invoice.id:
            drop_change(book, at)


def _close(book: Book, invoice_id: str, at: datetime) -> bool:
    waiting = [
        one
        for one in book.attempts_of(invoice_id)
        if one.provider == BY_HAND and one.state in IN_FLIGHT
    ]
    for one in waiting:
        reference = one.provider_reference or f"{BY_HAND}_{one.id}"
        book.put_attempt(settled(one, Answer(kind="canceled", reference=reference), at))
    return bool(waiting)
