"""Collection by invoice: an attempt waits until a human books what the bank shows. Not the booking.

It keeps nothing, and nobody answers: whatever is asked of it is pending. That an attempt stands at
all is what it is for, since an invoice with an attempt in flight is collected in no other way.
"""

from __future__ import annotations

from typing import Final

from control_plane.billing.provider import BY_HAND, Answer, Order, check_method
from control_plane.domain.money import Money

NAME: Final = BY_HAND


class ManualProvider:
    """The tenant pays by itself, against the invoice. No error but BadInput for another's method."""

    @property
    def name(self) -> str:
        return NAME

    def charge(self, order: Order) -> Answer:
        return self.ask(order)

    def ask(self, order: Order) -> Answer:
        check_method(self, order)
        return Answer(kind="pending", reference=f"manual_{order.attempt}")

    def cancel(self, order: Order) -> Answer:
        """Nothing is charged here; a transfer that comes nevertheless is booked to the balance."""
        check_method(self, order)
        return Answer(kind="canceled", reference=f"manual_{order.attempt}")

    def refund(self, refund_id: str, order: Order, amount: Money) -> Answer:
        """Pending: a human makes the transfer."""
        check_method(self, order)
        return Answer(kind="pending", reference=f"manual_{refund_id}")
