"""An invoice or credit note as texts and numbers ready to show. Not the page or the file that shows them.

Both the page and the PDF are made from this alone, so that they say the same. The text is cleaned of
what could make it read otherwise than it is: control characters and changes of direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from control_plane.billing.amounts import (
    amount_text,
    day_text,
    money_text,
    quantity_text,
    span_text,
    unit_price_text,
)
from control_plane.billing.clean_text import clean
from control_plane.billing.parties import Labelled, Parties, Party
from control_plane.billing.tax import title as tax_title
from control_plane.domain.credit_note import CreditNote, CreditReason
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId, Invoice, InvoiceLine, LineKind, refuse_totals
from control_plane.domain.money import Money
from control_plane.domain.tax import TaxCharged
from control_plane.errors import BadInput

Mark: TypeAlias = Literal["Draft", "Paid", "Void"]
Weight: TypeAlias = Literal["plain", "strong"]

COLUMNS: Final = ("#", "Description", "Quantity", "Unit price", "Amount")
_BELOW: Final = frozenset[LineKind]({"tax", "credit_carried"})
_WHAT: Final[Mapping[LineKind, str]] = {
    "proration_credit": "Credit for time not used",
    "proration_debit": "For the rest of the period",
}
_NOT_COUNTED: Final = frozenset[LineKind]({*_WHAT, "discount"})
_REASONS: Final[Mapping[CreditReason, str]] = {
    "duplicate": "billed twice",
    "mistake": "billed by mistake",
    "service": "the service fell short",
    "goodwill": "goodwill",
    "cancellation": "cancellation",
}
_GIVEN: Final = {
    "reduction": "This amount lowers what is due on the invoice.",
    "balance": "This amount is added to your balance.",
    "refund": "This amount is paid back to you.",
}


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Row(_Shown):
    """One line. `reverses` is the position of the row that it takes back, on this document."""

    position: int
    description: str
    details: tuple[str, ...] = ()
    reverses: int | None = None
    quantity: str
    unit_price: str
    amount: str


class Total(_Shown):
    """One line below the rows: with its currency where it is strong."""

    label: str
    amount: str
    weight: Weight = "plain"


class Block(_Shown):
    """A seller or a customer: the name, and the lines below it."""

    name: str
    lines: tuple[str, ...]


class InvoiceDocument(_Shown):
    """All that a reader sees, in the order in which it is seen. `issued_at` is None for a draft."""

    heading: str
    number: str
    mark: Mark | None
    currency: str
    seller: Block
    customer: Block
    facts: tuple[Labelled, ...]
    rows: tuple[Row, ...]
    totals: tuple[Total, ...]
    payment: tuple[Labelled, ...]
    pay_at: str | None
    notes: tuple[str, ...]
    issued_at: Instant | None


class EarlierLine(_Shown):
    """A line of an invoice that went out before: the invoice's number, and the line's position."""

    number: str
    position: int


def invoice_document(
    invoice: Invoice,
    parties: Parties,
    *,
    zone: str = "UTC",
    taxes: Sequence[TaxCharged] = (),
    earlier: Mapping[BillingId, EarlierLine] | None = None,
) -> InvoiceDocument:
    """The invoice for its customer, with days of their zone (IANA).

    `taxes` says what its tax lines tax, and must sum to them; without it they are shown by their
    descriptions. `earlier` names lines of earlier invoices that this one takes back. Refused where
    the sums do not hold; BadInput for a draft that was deleted, and for taxes of another sum.
    """
    if invoice.state == "deleted":
        raise BadInput("invoice", "must not be deleted")
    if (refused := refuse_totals(invoice)) is not None:
        raise refused
    payable = invoice.due_minor > 0
    return InvoiceDocument(
        heading="Invoice",
        number=invoice.number or "Draft",
        mark=_mark(invoice),
        currency=invoice.currency,
        seller=_block(parties.seller),
        customer=_block(parties.customer),
        facts=_invoice_facts(invoice, zone),
        rows=_rows(invoice, zone, earlier or {}),
        totals=(*_sums(invoice, taxes), *_standing(invoice)),
        payment=_payment(parties, invoice.number) if payable else (),
        pay_at=parties.pay_at if payable else None,
        notes=_notes(parties, (*_state_notes(invoice), *_tax_notes(taxes))),
        issued_at=invoice.finalized_at,
    )


def shown_lines(invoice: Invoice) -> tuple[InvoiceLine, ...]:
    """The lines that have a position, from 1 on: what is below the sum has none."""
    return tuple(line for line in invoice.lines if line.kind not in _BELOW)


def credit_note_document(
    note: CreditNote,
    invoice: Invoice,
    parties: Parties,
    *,
    zone: str = "UTC",
    taxes: Sequence[TaxCharged] = (),
) -> InvoiceDocument:
    """The credit note over `invoice`, which must be final and the note's own (BadInput).

    `taxes` are those in the amount of the note: see `control_plane.billing.tax.part_of`.
    """
    if note.invoice != invoice.id or invoice.number is None or invoice.finalized_at is None:
        raise BadInput("invoice", "must be final and the one that the note is for")
    amount = Money(minor=note.amount_minor, currency=note.currency)
    row = Row(
        position=1,
        description=f"Credit for invoice {invoice.number}: {_REASONS[note.reason]}",
        quantity="1",
        unit_price=amount_text(amount),
        amount=amount_text(amount),
    )
    dated = day_text(invoice.finalized_at, zone)
    return InvoiceDocument(
        heading="Credit note",
        number=note.number,
        mark=None,
        currency=note.currency,
        seller=_block(parties.seller),
        customer=_block(parties.customer),
        facts=(
            Labelled(label="Number", value=note.number),
            Labelled(label="Date", value=day_text(note.issued_at, zone)),
            Labelled(label="For invoice", value=f"{invoice.number} of {dated}"),
        ),
        rows=(row,),
        totals=(*_contained(amount, taxes), _strong("Total credited", amount)),
        payment=(),
        pay_at=None,
        notes=_notes(parties, (_GIVEN[note.kind], *_tax_notes(taxes))),
        issued_at=note.issued_at,
    )


def _mark(invoice: Invoice) -> Mark | None:
    match invoice.state:
        case "draft":
            return "Draft"
        case "paid":
            return "Paid"
        case "void":
            return "Void"
        case _:
            return None


def _block(party: Party) -> Block:
    ids = (f"{clean(one.label)}: {clean(one.value)}" for one in party.tax_ids)
    address, contact = map(clean, party.address), map(clean, party.contact)
    return Block(name=clean(party.name), lines=(*address, *ids, *contact))


def _invoice_facts(invoice: Invoice, zone: str) -> tuple[Labelled, ...]:
    facts = [Labelled(label="Number", value=invoice.number or "Draft")]
    if invoice.finalized_at is not None:
        facts.append(Labelled(label="Date", value=day_text(invoice.finalized_at, zone)))
    if invoice.due_at is not None:
        facts.append(Labelled(label="Due", value=day_text(invoice.due_at, zone)))
    if invoice.period_start is not None and invoice.period_end is not None:
        span = span_text(invoice.period_start, invoice.period_end, zone)
        facts.append(Labelled(label="Period", value=span))
    return tuple(facts)


def _rows(invoice: Invoice, zone: str, earlier: Mapping[BillingId, EarlierLine]) -> tuple[Row, ...]:
    shown = shown_lines(invoice)
    positions = {line.id: index for index, line in enumerate(shown, start=1)}
    return tuple(
        Row(
            position=position,
            description=clean(line.description),
            details=_details(line, zone, positions, earlier),
            reverses=positions.get(line.reverses or ""),
            quantity=_quantity(line),
            unit_price=_unit_price(line),
            amount=amount_text(_money(invoice, line.amount_minor)),
        )
        for position, line in enumerate(shown, start=1)
    )


def _quantity(line: InvoiceLine) -> str:
    # One times a whole price is not what a part of a period, or a discount, comes to.
    once = line.kind in _NOT_COUNTED and line.quantity == 1
    return "" if once else quantity_text(line.quantity)


def _unit_price(line: InvoiceLine) -> str:
    return "" if line.unit_price is None else unit_price_text(line.unit_price, line.currency)


def _details(
    line: InvoiceLine,
    zone: str,
    positions: Mapping[str, int],
    earlier: Mapping[BillingId, EarlierLine],
) -> tuple[str, ...]:
    what = [_WHAT[line.kind]] if line.kind in _WHAT else []
    if line.period_start is not None and line.period_end is not None:
        what.append(span_text(line.period_start, line.period_end, zone))
    said = [", ".join(what)] if what else []
    if line.reverses is not None:
        said.append(f"Takes back {_place(line.reverses, positions, earlier)}")
    return tuple(said)


def _place(
    reversed_id: str, positions: Mapping[str, int], earlier: Mapping[BillingId, EarlierLine]
) -> str:
    if reversed_id in positions:
        return f"line {positions[reversed_id]}"
    if (before := earlier.get(reversed_id)) is not None:
        return f"line {before.position} of invoice {clean(before.number)}"
    return "a line of an earlier invoice"


def _sums(invoice: Invoice, taxes: Sequence[TaxCharged]) -> list[Total]:
    """From the subtotal to the total; each step only where there is something to say."""
    by_kind: dict[str, int] = {}
    for line in invoice.lines:
        kind = line.kind if line.kind in {"discount", *_BELOW} else "charges"
        by_kind[kind] = by_kind.get(kind, 0) + line.amount_minor
    charges, discounts = by_kind.get("charges", 0), by_kind.get("discount", 0)
    totals: list[Total] = []
    if len(by_kind) > 1:
        totals.append(_plain("Subtotal", _money(invoice, charges)))
    if "discount" in by_kind:
        totals.append(_plain("Discounts", _money(invoice, discounts)))
        if "tax" in by_kind:
            totals.append(_plain("Total before tax", _money(invoice, charges + discounts)))
    totals += _taxes(invoice, taxes)
    totals += _each(invoice, "credit_carried")
    return [*totals, _strong("Total", _money(invoice, invoice.total_minor))]


def _taxes(invoice: Invoice, taxes: Sequence[TaxCharged]) -> list[Total]:
    if not taxes:
        return _each(invoice, "tax")
    own = sum(line.amount_minor for line in invoice.lines if line.kind == "tax")
    if sum(one.amount_minor for one in taxes) != own:
        raise BadInput("taxes", "must sum to the tax lines of the invoice")
    return _by_rate(taxes, invoice.currency)


def _by_rate(taxes: Sequence[TaxCharged], currency: str) -> list[Total]:
    return [
        _plain(
            f"{tax_title(one)} of {amount_text(Money(minor=one.taxable_minor, currency=currency))}",
            Money(minor=one.amount_minor, currency=currency),
        )
        for one in taxes
    ]


def _each(invoice: Invoice, kind: LineKind) -> list[Total]:
    return [
        _plain(clean(line.description), _money(invoice, line.amount_minor))
        for line in invoice.lines
        if line.kind == kind
    ]


def _standing(invoice: Invoice) -> list[Total]:
    """What became of the total, once the invoice is final."""
    if invoice.state == "draft":
        return []
    totals: list[Total] = []
    if invoice.credited_minor:
        totals.append(_plain("Credit notes", _money(invoice, -invoice.credited_minor)))
    if invoice.allocated_minor:
        totals.append(_plain("Paid", _money(invoice, -invoice.allocated_minor)))
    return [*totals, _strong("Amount due", _money(invoice, invoice.due_minor))]


def _contained(amount: Money, taxes: Sequence[TaxCharged]) -> list[Total]:
    """What of a gross amount is net and what is tax."""
    if not taxes:
        return []
    tax = sum(one.amount_minor for one in taxes)
    net = Money(minor=amount.minor - tax, currency=amount.currency)
    return [_plain("Before tax", net), *_by_rate(taxes, amount.currency)]


def _payment(parties: Parties, number: str | None) -> tuple[Labelled, ...]:
    if not parties.bank:
        return ()
    bank = (Labelled(label=clean(one.label), value=clean(one.value)) for one in parties.bank)
    return (*bank, Labelled(label="Reference", value=number or "Draft"))


def _state_notes(invoice: Invoice) -> tuple[str, ...]:
    match invoice.state:
        case "draft":
            return ("This is a draft. It is not an invoice yet, and nothing is due.",)
        case "void":
            return ("This invoice is void. Nothing is due.",)
        case "paid" if invoice.allocated_minor:
            return ("Paid in full. Thank you.",)
        case _:
            return ()


def _tax_notes(taxes: Iterable[TaxCharged]) -> tuple[str, ...]:
    if any(one.reason == "reverse_charge" for one in taxes):
        return ("Reverse charge: the customer owes the tax to their own tax office.",)
    return ()


def _notes(parties: Parties, said: Iterable[str]) -> tuple[str, ...]:
    return (*said, clean(parties.note)) if parties.note is not None else tuple(said)


def _money(invoice: Invoice, minor: int) -> Money:
    return Money(minor=minor, currency=invoice.currency)


def _plain(label: str, money: Money) -> Total:
    return Total(label=label, amount=amount_text(money))


def _strong(label: str, money: Money) -> Total:
    return Total(label=label, amount=money_text(money), weight="strong")
