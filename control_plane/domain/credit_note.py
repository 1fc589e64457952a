"""A credit note: what is taken back of an invoice, and how much at most. Not the paying out.

It has no machine: it is issued once, in the transaction that books it, and never changes. A refund
leaves the house as a side effect of its own.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId, Invoice, InvoiceNumber
from control_plane.domain.money import MINOR_MAX, Currency
from control_plane.domain.tax import ChargedTaxes
from control_plane.domain.tenant import TenantId
from control_plane.errors import Refused

# `reduction` lowers what is due; `balance` and `refund` give back what was paid.
CreditKind: TypeAlias = Literal["reduction", "balance", "refund"]
CreditReason: TypeAlias = Literal["duplicate", "mistake", "service", "goodwill", "cancellation"]


class CreditNote(BaseModel):
    """One credit note against one invoice, in minor units of the invoice's currency.

    `amount_minor` is with tax, and `taxes` what of it is tax; None where the invoice was not taxed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: BillingId
    tenant: TenantId
    invoice: BillingId
    number: InvoiceNumber
    kind: CreditKind
    reason: CreditReason
    amount_minor: int = Field(ge=1, le=MINOR_MAX)
    currency: Currency
    taxes: ChargedTaxes | None = None
    issued_at: Instant


def refuse_credit(invoice: Invoice, note: CreditNote) -> Refused | None:
    """Why `note` may not be issued against `invoice`, or None.

    What was paid is given back up to that amount, and only of a paid invoice; of an unpaid one, the
    due part is reduced. Either way all notes together never exceed the invoice.
    """
    own = (invoice.id, invoice.tenant, invoice.currency)
    if (note.invoice, note.tenant, note.currency) != own:
        return _refused("invoice")
    if note.kind == "reduction":
        if invoice.state not in {"open", "uncollectible"}:
            return _refused("state")
        left_minor = invoice.due_minor
    else:
        if invoice.state != "paid":
            return _refused("state")
        left_minor = invoice.total_minor - invoice.credited_minor
    return _refused("amount_minor") if note.amount_minor > left_minor else None


def _refused(fact: str) -> Refused:
    return Refused(
        "this credit note does not fit its invoice",
        code="credit_refused",
        rule="credit_note.bound",
        fact=fact,
    )
