"""The tools that read a tenant's invoices and look ahead, with their inputs and outputs. Not what they do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from control_plane import subscription_commands as commands
from control_plane.billing.outlook import MONTHS_MAX
from control_plane.domain.credit_note import CreditKind, CreditReason
from control_plane.domain.gate import GateLevel
from control_plane.domain.invoice import InvoiceState, LineKind
from control_plane.domain.payment import FailureClass, PaymentState
from control_plane.domain.refund import RefundState
from control_plane.domain.subscription import SubscriptionState
from control_plane.domain.tax import TaxReason
from tools.payment_tools import InvoiceId
from tools.schemas import After, BuyerResult, TenantArguments
from tools.spec import Result, ToolSpec


class ListInvoicesArguments(TenantArguments):
    """Whose invoices, and which page of them."""

    limit: int = Field(default=50, ge=1, le=100)
    after: After = None


class InvoiceArguments(TenantArguments):
    """Which invoice of the tenant's."""

    invoice: InvoiceId


class SimulateArguments(TenantArguments):
    """Whose subscription, how far ahead, and how payments end."""

    months: int = Field(ge=1, le=MONTHS_MAX, description="How many months from now on.")
    payments: Literal["succeed", "fail"] = Field(
        default="succeed", description="How every payment ends that is tried."
    )


class InvoiceSummary(Result):
    """How one invoice stands; amounts are minor units of its currency."""

    id: str
    number: str | None
    state: InvoiceState
    currency: str
    total_minor: int
    due_minor: int
    due_at: str | None
    finalized_at: str | None
    period_start: str | None
    period_end: str | None
    overdue: bool


class InvoicesResult(Result):
    """A page of a tenant's invoices, the newest first."""

    tenant: str
    invoices: list[InvoiceSummary]
    next_after: str | None


class InvoiceLineResult(Result):
    """One line; `amount` and `unit_price` are text to show."""

    id: str
    kind: LineKind
    reference: str
    description: str
    quantity: str
    unit_price: str | None
    amount_minor: int
    amount: str
    period_start: str | None
    period_end: str | None
    reverses: str | None


class TaxPartyResult(Result):
    """Where somebody is for tax, and whether as a business."""

    country: str
    vat_id: str | None
    business: bool


class TaxChargedResult(Result):
    """What one rate came to, in minor units; the rate is text."""

    jurisdiction: str
    rate_percent: str
    reason: TaxReason
    taxable_minor: int
    amount_minor: int


class TaxResult(Result):
    """How an invoice was taxed; without a `customer` nobody knew where they were."""

    rules: str
    seller: TaxPartyResult
    customer: TaxPartyResult | None
    amount_minor: int
    charged: list[TaxChargedResult]


class RefundResult(Result):
    """How a refund stands; one that failed has become credit."""

    state: RefundState
    provider: str
    decline_code: str | None
    asked: int
    changed_at: str


class CreditNoteResult(Result):
    """What was taken back of the invoice."""

    id: str
    number: str
    kind: CreditKind
    reason: CreditReason
    amount_minor: int
    amount: str
    tax_minor: int
    issued_at: str
    refund: RefundResult | None


class AttemptResult(Result):
    """One attempt at collecting it, without its provider's tokens.

    `action_url` is where the customer acts, and `action_until` until when, while it waits for that.
    """

    number: int
    state: PaymentState
    provider: str
    failure: FailureClass | None
    decline_code: str | None
    amount_minor: int
    amount: str
    created_at: str
    changed_at: str
    action_url: str | None
    action_until: str | None


class InvoiceResult(InvoiceSummary):
    """One invoice, as it stands now."""

    tenant: str
    total: str
    due: str
    paid_minor: int
    credited_minor: int
    billing_details: BuyerResult | None
    tax: TaxResult | None
    lines: list[InvoiceLineResult]
    lines_count: int
    credit_notes: list[CreditNoteResult]
    attempts: list[AttemptResult]
    next_attempt_at: str | None


class MeterAssumed(Result):
    """How much of a meter each period to come is taken to use."""

    meter: str
    quantity: str


class ForecastNote(Result):
    """Something that would happen."""

    at: str
    kind: str
    reference: str | None
    amount_minor: int | None
    currency: str | None
    detail: str | None


class ForecastInvoice(Result):
    """An invoice that stands, or would come; the number of one to come is `PLANNED-n`."""

    id: str
    number: str | None
    planned: bool
    at: str | None
    state: InvoiceState
    currency: str
    total_minor: int
    due_minor: int


class StateStretch(Result):
    """A state of the subscription, from one instant up to but without another."""

    state: SubscriptionState
    since: str
    until: str


class GateStretch(Result):
    """What debts close, from one instant up to but without another."""

    level: GateLevel
    since: str
    until: str


class MonthTotals(Result):
    """What one calendar month comes to in one currency, in its minor units."""

    month: str
    currency: str
    invoiced_minor: int
    collected_minor: int
    credited_minor: int
    voided_minor: int


class ForecastEnd(Result):
    """How everything stands at the end; amounts by currency."""

    state: SubscriptionState
    plan: str
    plan_version: int
    pending_plan: str | None
    billing_level: GateLevel
    entitled: bool
    current_period_end: str | None
    owed_minor: dict[str, int]
    credit_minor: dict[str, int]


class SimulationResult(Result):
    """What time would do to a subscription. `cut` says that more happened than is shown."""

    tenant: str
    since: str
    until: str
    months: int
    payments: Literal["succeed", "fail"]
    usage_of: str | None
    usage: list[MeterAssumed]
    timeline: list[ForecastNote]
    timeline_count: int
    cut: bool
    invoices: list[ForecastInvoice]
    states: list[StateStretch]
    gates: list[GateStretch]
    totals: list[MonthTotals]
    final: ForecastEnd


INVOICE_TOOLS = (
    ToolSpec(
        name="invoice_list",
        title="List invoices",
        description="List a tenant's invoices, the newest first: number, state, total, what is due "
        "and since when. Drafts are not listed. A page may be short; go on while next_after is "
        "given.",
        arguments=ListInvoicesArguments,
        result=InvoicesResult,
        risk="read",
        domain="invoice",
        machine="query",
        to_command=lambda a: commands.ListInvoices(tenant=a.tenant, limit=a.limit, after=a.after),
    ),
    ToolSpec(
        name="invoice_get",
        title="Read an invoice",
        description="Read one invoice of a tenant's: its lines, its credit notes, and how it was "
        "collected. Amounts are in minor units, and as text to show.",
        arguments=InvoiceArguments,
        result=InvoiceResult,
        risk="read",
        domain="invoice",
        machine="query",
        to_command=lambda a: commands.GetInvoice(tenant=a.tenant, invoice=a.invoice),
    ),
    ToolSpec(
        name="subscription_simulate",
        title="Simulate a subscription",
        description="Tell what time would do to a tenant's subscription in the months ahead, on a "
        "copy: renewals, invoices, payments, and what debts would close. Nothing is changed. "
        "Usage to come is taken to be that of the last whole period.",
        arguments=SimulateArguments,
        result=SimulationResult,
        risk="read",
        domain="invoice",
        machine="query",
        to_command=lambda a: commands.SimulateSubscription(
            tenant=a.tenant, months=a.months, payments=a.payments
        ),
    ),
)
