"""An invoice: its machine, its lines and what may change when. Not prices, tax or the ledger."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.domain import canonical
from control_plane.domain.buyer import Buyer
from control_plane.domain.instant import Instant
from control_plane.domain.machine import Machine, Transition
from control_plane.domain.money import MINOR_MAX, Currency
from control_plane.domain.tax import InvoiceTax
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput, Refused

InvoiceState: TypeAlias = Literal["draft", "open", "paid", "uncollectible", "void", "deleted"]
LineKind: TypeAlias = Literal[
    "base",
    "seats",
    "usage",
    "minimum",
    "add_on",
    "proration_credit",
    "proration_debit",
    "discount",
    "tax",
    "credit_carried",
    "manual",
]
Reference: TypeAlias = Annotated[str, Field(min_length=1, max_length=300)]
BillingId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
InvoiceNumber: TypeAlias = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,39}$")]

LINES_MAX: Final = 10_000
_ID_DIGITS = 32
_TERMINAL = frozenset({"paid", "void", "deleted"})
_OWED = frozenset({"open", "uncollectible"})

# `paid` has no exit: a credit note stands beside the invoice and never reopens it.
INVOICE = Machine(
    name="invoice",
    initial="draft",
    states=get_args(InvoiceState),
    stable=frozenset(get_args(InvoiceState)) - _TERMINAL,
    transient={},
    terminal=_TERMINAL,
    transitions=(
        Transition("draft", "update_lines", "draft", guard="before_collection_deadline"),
        Transition(
            "draft",
            "finalize",
            "open",
            guard="totals_agree, total_above_zero, numbered_in_same_transaction",
            irreversible=True,
        ),
        Transition(
            "draft",
            "finalize_settled",
            "paid",
            guard="totals_agree, total_zero, numbered_in_same_transaction",
            irreversible=True,
        ),
        Transition("draft", "delete", "deleted", guard="never_numbered"),
        Transition(_OWED, "pay", "paid", guard="allocations_and_credits_equal_total"),
        *(
            Transition(state, "pay_part", state, guard="allocations_and_credits_below_total")
            for state in sorted(_OWED)
        ),
        Transition("open", "fail_payment", "open", guard="attempt_ended, next_attempt_set"),
        Transition("open", "require_action", "open", guard="attempt_waits_for_customer"),
        Transition("open", "pass_due", "open", guard="due_instant_over"),
        Transition(
            _OWED,
            "void",
            "void",
            guard="no_settled_allocation, no_attempt_in_flight",
            irreversible=True,
        ),
        Transition("open", "write_off", "uncollectible", guard="retries_exhausted_or_approved"),
    ),
)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("must be finite")
    return value


Quantity: TypeAlias = Annotated[Decimal, AfterValidator(_finite)]


def line_id(invoice: str, kind: LineKind, reference: str) -> str:
    """The id of a line: the same for the same invoice, kind and reference, on every machine.

    A renewal that is made again after a kill comes to the same lines, and writes none twice.
    """
    return _derived("line", {"invoice": invoice, "kind": kind, "reference": reference})


def invoice_id(subscription: str, period_start: datetime) -> str:
    """The id of the one invoice of a subscription's period, which begins at an aware instant."""
    return _derived("invoice", {"subscription": subscription, "period_start": period_start})


def _derived(prefix: str, parts: dict[str, object]) -> str:
    return f"{prefix}_{canonical.digest({'of': prefix, **parts})[:_ID_DIGITS]}"


class InvoiceLine(_Strict):
    """One line. `reference` is what it charges for, as a stable name within the invoice.

    `amount_minor` is what counts; `quantity` and `unit_price` (minor units) say how it came about.
    `reverses` is the line that a credit takes back, on this invoice or an earlier one.
    """

    id: BillingId
    invoice: BillingId
    kind: LineKind
    reference: Reference
    description: str = Field(min_length=1, max_length=200)
    quantity: Quantity = Decimal(1)
    unit_price: Quantity | None = None
    amount_minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX)
    currency: Currency
    period_start: Instant | None = None
    period_end: Instant | None = None
    reverses: BillingId | None = None

    @model_validator(mode="after")
    def _is_itself(self) -> Self:
        if self.id != line_id(self.invoice, self.kind, self.reference):
            raise ValueError("the id of a line follows from invoice, kind and reference")
        if (self.period_start is None) != (self.period_end is None):
            raise ValueError("a period has a start and an end")
        if self.period_start and self.period_end and self.period_end < self.period_start:
            raise ValueError("a period ends after it starts")
        return self


class Invoice(_Strict):
    """One bill. Amounts are minor units of `currency`, times are aware.

    `allocated_minor` is what settled payments and balance have paid of it, `credited_minor` the sum
    of its credit notes. `collection_deadline` ends the time in which late usage may still arrive.
    `buyer` is the customer as they were when it became final, and `tax` how it was taxed: None
    where it was not.
    """

    id: BillingId
    tenant: TenantId
    subscription: BillingId | None = None
    state: InvoiceState = "draft"
    number: InvoiceNumber | None = None
    currency: Currency
    period_start: Instant | None = None
    period_end: Instant | None = None
    lines: tuple[InvoiceLine, ...] = Field(default=(), max_length=LINES_MAX)
    total_minor: int = Field(default=0, ge=-MINOR_MAX, le=MINOR_MAX)
    buyer: Buyer | None = None
    tax: InvoiceTax | None = None
    allocated_minor: int = Field(default=0, ge=0, le=MINOR_MAX)
    credited_minor: int = Field(default=0, ge=0, le=MINOR_MAX)
    collection_deadline: Instant | None = None
    finalized_at: Instant | None = None
    due_at: Instant | None = None
    attempts: int = Field(default=0, ge=0)
    next_attempt_at: Instant | None = None
    version: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _numbered_once_final(self) -> Self:
        final = self.state not in {"draft", "deleted"}
        if {self.number is None, self.finalized_at is None} != {not final}:
            raise ValueError("an invoice has number and instant exactly once it is final")
        if self.allocated_minor and not final:
            raise ValueError("nothing is paid of an invoice that is not final")
        return self

    @property
    def due_minor(self) -> int:
        """What is still to be paid; nothing once it is paid, void or a draft."""
        if self.state not in _OWED:
            return 0
        return self.total_minor - self.allocated_minor - self.credited_minor

    def overdue(self, now: datetime) -> bool:
        """Whether something is owed whose due instant has come; derived, so no sweep is late.

        Writing an invoice off forgives nothing: it is overdue until paid, credited or made void.
        """
        return self.due_minor > 0 and self.due_at is not None and now >= self.due_at

    def takes_lines(self, now: datetime) -> bool:
        """Whether a line may still be added or replaced at `now`."""
        open_for_usage = self.collection_deadline is None or now < self.collection_deadline
        return self.state == "draft" and open_for_usage


# What goes on happening to an invoice that can no longer be edited.
_CHANGES_LATER = frozenset(
    {"state", "allocated_minor", "credited_minor", "attempts", "next_attempt_at", "version"}
)


def refuse_totals(invoice: Invoice) -> Refused | None:
    """Why the sums of an invoice do not hold, or None.

    Each line is the invoice's own, in its currency, and stands once; the lines add up to the total,
    which is not below zero: what a customer has left over is carried by a line of its own.
    """
    ids = {line.id for line in invoice.lines}
    if len(ids) != len(invoice.lines):
        return _not_sound("lines")
    if any(line.invoice != invoice.id for line in invoice.lines):
        return _not_sound("lines")
    if any(line.currency != invoice.currency for line in invoice.lines):
        return _not_sound("currency")
    if sum(line.amount_minor for line in invoice.lines) != invoice.total_minor:
        return _not_sound("total_minor")
    taxed = sum(line.amount_minor for line in invoice.lines if line.kind == "tax")
    if invoice.tax is not None and invoice.tax.amount_minor != taxed:
        return _not_sound("tax")
    return _not_sound("total_minor") if invoice.total_minor < 0 else None


def refuse_edit(before: Invoice, after: Invoice) -> Refused | None:
    """Why `after` may not take the place of `before`, or None.

    A draft may be edited and keeps its identity. Once final, only its standing may move (state,
    what was paid and credited, attempts), and what was paid or credited never shrinks.
    """
    fixed = _IDENTITY if before.state == "draft" else frozenset(Invoice.model_fields)
    for name in sorted(fixed - _CHANGES_LATER):
        if getattr(before, name) != getattr(after, name):
            return _final(name)
    if after.allocated_minor < before.allocated_minor:
        return _final("allocated_minor")
    return _final("credited_minor") if after.credited_minor < before.credited_minor else None


_IDENTITY = frozenset({"id", "tenant", "subscription", "currency", "period_start"})


def finalize(invoice: Invoice, number: str, at: datetime, due_at: datetime) -> Invoice:
    """The draft made final at `at`: open, or paid where nothing is due. From now on it is fixed.

    `number` is the next one, taken in the same transaction. Refused where the sums do not hold, and
    IllegalTransition where it is no draft.
    """
    event = "finalize" if invoice.total_minor > 0 else "finalize_settled"
    state = INVOICE.next(invoice.state, event)
    if (refused := refuse_totals(invoice)) is not None:
        raise refused
    return _with(invoice, state=state, number=number, finalized_at=at, due_at=due_at)


def allocate(invoice: Invoice, amount_minor: int) -> Invoice:
    """The invoice after `amount_minor` (above zero) of settled money was put to it.

    It is paid once payments and credit notes come to its total. BadInput for more than is due.
    """
    _require_within_due(invoice, amount_minor)
    event = "pay" if amount_minor == invoice.due_minor else "pay_part"
    return _with(
        invoice,
        state=INVOICE.next(invoice.state, event),
        allocated_minor=invoice.allocated_minor + amount_minor,
    )


def reduce(invoice: Invoice, amount_minor: int) -> Invoice:
    """An unpaid invoice after a credit note over `amount_minor` (above zero) of what is due.

    It is paid once payments and credit notes come to its total. BadInput for more than is due.
    """
    _require_within_due(invoice, amount_minor)
    event = "pay" if amount_minor == invoice.due_minor else "pay_part"
    return _with(
        invoice,
        state=INVOICE.next(invoice.state, event),
        credited_minor=invoice.credited_minor + amount_minor,
    )


def void(invoice: Invoice) -> Invoice:
    """The invoice made void. Refused once money was put to it: then a credit note takes it back."""
    state = INVOICE.next(invoice.state, "void")
    if invoice.allocated_minor:
        raise Refused(
            "an invoice that money was put to is credited, never made void",
            code="invoice_has_payment",
            rule="invoice.void",
            fact="allocated_minor",
        )
    return _with(invoice, state=state)


def _require_within_due(invoice: Invoice, amount_minor: int) -> None:
    # The state is asked first, so that a settled invoice answers with what is legal.
    INVOICE.next(invoice.state, "pay")
    if not 0 < amount_minor <= invoice.due_minor:
        raise BadInput("amount_minor", "must be above zero and at most what is due")


def _with(invoice: Invoice, **changes: object) -> Invoice:
    held = {name: getattr(invoice, name) for name in Invoice.model_fields}
    return Invoice.model_validate({**held, "version": invoice.version + 1, **changes})


def _not_sound(fact: str) -> Refused:
    return Refused(
        "the invoice's lines and total do not agree",
        code="invoice_not_sound",
        rule="invoice.totals",
        fact=fact,
    )


def _final(fact: str) -> Refused:
    return Refused(
        "an invoice that is final is never edited",
        code="invoice_final",
        rule="invoice.immutable",
        fact=fact,
    )
