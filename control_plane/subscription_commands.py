"""The commands about a tenant's subscription and its money. Not the tools' schemas, and no deeds."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from control_plane.commands import Command, NewestFirst
from control_plane.domain.buyer import Buyer
from control_plane.domain.charge import Interval
from control_plane.domain.credit_note import CreditKind, CreditReason
from control_plane.domain.terms import AddOnsTaken


class WantedSubscription(Command):
    """The base of what asks for another plan, seats or add-ons; what is left out stays."""

    tenant: str
    plan: str
    interval: Interval | None = None
    currency: str | None = None
    seats: int | None = None
    add_ons: AddOnsTaken | None = None
    coupon: str | None = None
    remove_coupon: str | None = None


class PreviewChange(WantedSubscription):
    """Tell what a change would come to."""

    name: ClassVar[str] = "preview_change"


class ChangeSubscription(WantedSubscription):
    """Change it as previewed at ``proration_at``; without that, as of the call."""

    name: ClassVar[str] = "change_subscription"
    proration_at: datetime | None = None


class CancelSubscription(Command):
    """End it, now or with the period that runs."""

    name: ClassVar[str] = "cancel_subscription"
    tenant: str
    ends: Literal["now", "period_end"]


class PauseSubscription(Command):
    """No bills and no rights until an instant."""

    name: ClassVar[str] = "pause_subscription"
    tenant: str
    until: datetime


class ResumeSubscription(Command):
    """Lift a pause, or take a cancellation back that has not happened yet."""

    name: ClassVar[str] = "resume_subscription"
    tenant: str


class SetPaymentMethod(Command):
    """Collect from another method from now on."""

    name: ClassVar[str] = "set_payment_method"
    tenant: str
    provider: str
    reference: str


class SetBillingDetails(Command):
    """Make invoices out to this customer from now on."""

    name: ClassVar[str] = "set_billing_details"
    tenant: str
    buyer: Buyer


class RetryPayment(Command):
    """Try now to collect an invoice."""

    name: ClassVar[str] = "retry_payment"
    tenant: str
    invoice: str


class RecordPayment(Command):
    """Write down that money for an invoice has come to our bank."""

    name: ClassVar[str] = "record_payment"
    tenant: str
    invoice: str
    amount_minor: int
    reference: str


class IssueCreditNote(Command):
    """Take back a part of an invoice, or all of it."""

    name: ClassVar[str] = "issue_credit_note"
    tenant: str
    invoice: str
    amount_minor: int
    kind: CreditKind
    reason: CreditReason


class ListInvoices(NewestFirst):
    """List a tenant's invoices."""

    name: ClassVar[str] = "list_invoices"
    tenant: str


class GetInvoice(Command):
    """Read one invoice with its lines."""

    name: ClassVar[str] = "get_invoice"
    tenant: str
    invoice: str


class SimulateSubscription(Command):
    """Tell what time would do to a subscription, on a copy."""

    name: ClassVar[str] = "simulate_subscription"
    tenant: str
    months: int
    payments: Literal["succeed", "fail"] = "succeed"
