"""The tools of a tenant's money: method, payments, credit notes, with their inputs. Not the subscription's moves."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from control_plane import subscription_commands as commands
from control_plane.domain.credit_note import CreditReason
from tools.agreements import buyer_of
from tools.schemas import BuyerArguments, DryRun, Key, TenantArguments
from tools.spec import ToolSpec
from tools.subscription_result import SubscriptionResult

AMOUNT_MINOR_MAX = 10**12

InvoiceId: TypeAlias = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The invoice's id, not its number.")
]


class SetMethodArguments(TenantArguments):
    """Whose method, and which. Never what is on a card: only a provider's token for it."""

    provider: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Who collects.")
    reference: str = Field(
        pattern=r"^[\x21-\x7e]{1,120}$",
        description="The provider's own token for the account. No card number, ever.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class BillingDetailsArguments(BuyerArguments, TenantArguments):
    """Whose invoices, and who they are made out to."""

    idempotency_key: Key
    dry_run: DryRun = False


class RetryPaymentArguments(TenantArguments):
    """Which invoice is to be collected."""

    invoice: InvoiceId
    idempotency_key: Key
    dry_run: DryRun = False


class RecordPaymentArguments(TenantArguments):
    """What came in for which invoice."""

    invoice: InvoiceId
    amount_minor: int = Field(
        ge=1, le=AMOUNT_MINOR_MAX, description="In minor units of the invoice's currency."
    )
    reference: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,48}$",
        description="What names the transfer at the bank; the same one is booked once.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class IssueCreditArguments(TenantArguments):
    """How much of which invoice is taken back, how and why."""

    invoice: InvoiceId
    amount_minor: int = Field(
        ge=1, le=AMOUNT_MINOR_MAX, description="In minor units of the invoice's currency."
    )
    kind: Literal["reduction", "balance", "refund"] = Field(
        description="Of an open invoice less is due; of a paid one it stands to the tenant's credit, "
        "or goes back to the method that paid it."
    )
    reason: CreditReason
    idempotency_key: Key
    dry_run: DryRun = False


PAYMENT_TOOLS = (
    ToolSpec(
        name="payment_method_set",
        title="Set a payment method",
        description="Collect from another method from now on, by its provider's token. What is "
        "overdue is tried again by itself soon after. Answers 'running' with a run_id.",
        arguments=SetMethodArguments,
        result=SubscriptionResult,
        risk="write",
        domain="subscription",
        machine="lifecycle",
        to_command=lambda a: commands.SetPaymentMethod(
            tenant=a.tenant, provider=a.provider, reference=a.reference
        ),
        next_tools=("subscription_get", "payment_retry", "run_get"),
    ),
    ToolSpec(
        name="billing_details_set",
        title="Set billing details",
        description="Make invoices out to this customer from the next one on: name, address, "
        "country, VAT id. They decide how what is billed is taxed, and take the place of all that "
        "stood before; invoices that are final stay as they are. Answers 'running' with a run_id.",
        arguments=BillingDetailsArguments,
        result=SubscriptionResult,
        risk="write",
        domain="subscription",
        machine="lifecycle",
        to_command=lambda a: commands.SetBillingDetails(tenant=a.tenant, buyer=buyer_of(a)),
        next_tools=("subscription_get", "subscription_preview_change", "run_get"),
    ),
    ToolSpec(
        name="payment_retry",
        title="Retry a payment",
        description="Try now to collect an invoice by the method that is set. Above a limit it "
        "waits for a human's approval. Declined, the run fails and the debt stands as it did. Where "
        "the customer has to act first, payment_action of the answer says where and until when. "
        "Answers 'running' with a run_id.",
        arguments=RetryPaymentArguments,
        result=SubscriptionResult,
        risk="write",
        domain="subscription",
        machine="lifecycle",
        to_command=lambda a: commands.RetryPayment(tenant=a.tenant, invoice=a.invoice),
        next_tools=("payment_method_set", "subscription_get", "invoice_get", "run_get"),
    ),
    ToolSpec(
        name="payment_record",
        title="Record a payment",
        description="Write down money that came for an invoice by transfer; what is too much "
        "stands to the tenant's credit. Nobody but you vouches for it, so it always waits for a "
        "human's approval. Answers 'running' with a run_id.",
        arguments=RecordPaymentArguments,
        result=SubscriptionResult,
        risk="write",
        domain="billing",
        machine="lifecycle",
        to_command=lambda a: commands.RecordPayment(
            tenant=a.tenant,
            invoice=a.invoice,
            amount_minor=a.amount_minor,
            reference=a.reference,
        ),
        next_tools=("subscription_get", "run_get"),
    ),
    ToolSpec(
        name="credit_note_issue",
        title="Issue a credit note",
        description="Take back a part of an invoice, or all of it. A credit note cannot be taken "
        "back. A refund is promised with it and put to the provider right after; invoice_get tells "
        "how it ended, and what cannot be refunded becomes credit. Above a limit it waits for a "
        "human's approval. Answers 'running' with a run_id.",
        arguments=IssueCreditArguments,
        result=SubscriptionResult,
        risk="write",
        domain="billing",
        machine="lifecycle",
        to_command=lambda a: commands.IssueCreditNote(
            tenant=a.tenant,
            invoice=a.invoice,
            amount_minor=a.amount_minor,
            kind=a.kind,
            reason=a.reason,
        ),
        next_tools=("invoice_get", "subscription_get", "run_get"),
    ),
)
