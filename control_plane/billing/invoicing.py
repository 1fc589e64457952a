"""How an invoice becomes final, is paid, or is taken back, each with its entry. Not what stands on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from control_plane.billing import ledger
from control_plane.billing.book import Book
from control_plane.billing.calendar import utc
from control_plane.billing.charging import ADVANCE, carried_line
from control_plane.billing.tax import part_of
from control_plane.billing.taxing import remember, with_tax
from control_plane.domain import canonical
from control_plane.domain.credit_note import (
    CreditKind,
    CreditNote,
    CreditReason,
    refuse_credit,
)
from control_plane.domain.invoice import (
    BillingId,
    Invoice,
    InvoiceLine,
    allocate,
    finalize,
    reduce,
    void,
)
from control_plane.domain.money import Money
from control_plane.domain.tax import InvoiceTax, TaxCharged

_ID_DIGITS = 32


def own_invoice_id(book: Book, reference: str) -> BillingId:
    """The id of an invoice that is no period's: made again by the same command, it is the same."""
    parts = {"of": "invoice", "subscription": book.subscription.id, "by": reference}
    return f"invoice_{canonical.digest(parts)[:_ID_DIGITS]}"


def drafted(
    book: Book,
    invoice: BillingId,
    lines: Sequence[InvoiceLine],
    *,
    period: tuple[datetime, datetime] | None = None,
    deadline: datetime | None = None,
    tax: InvoiceTax | None = None,
) -> Invoice:
    """A draft with these lines; what they give back beyond what they charge is carried to credit.

    `tax` is how the lines are taxed, where their taxes are among them.
    """
    total_minor = sum(one.amount_minor for one in lines)
    currency = book.terms.currency
    if total_minor < 0:
        lines = (*lines, carried_line(invoice, Money(minor=-total_minor, currency=currency)))
    start, end = (None, None) if period is None else period
    return Invoice(
        id=invoice,
        tenant=book.tenant,
        subscription=book.subscription.id,
        currency=currency,
        period_start=start,
        period_end=end,
        lines=tuple(lines),
        total_minor=max(0, total_minor),
        tax=tax,
        collection_deadline=deadline,
    )


def finalised(book: Book, draft: Invoice, at: datetime) -> Invoice:
    """The draft with its tax made final, booked, and paid as far as credit goes.

    One whose tax was worked out before, as for a quote, keeps that. It is due at once, or by the
    terms' days where it is paid by invoice.
    """
    waits = book.terms.due_days if book.terms.collection == "by_invoice" else 0
    ready = with_tax(book, draft, at)
    number = book.sources.numbers("invoice")
    invoice = book.put(finalize(ready, number, at, utc(at) + timedelta(days=waits)))
    total = Money(minor=invoice.total_minor, currency=invoice.currency)
    book.note(at, "invoice.finalised", invoice.id, total, invoice.number or "")
    remember(book, invoice, at)
    _book(book, invoice, at)
    return use_credit(book, at, invoice)


def _ahead_minor(invoice: Invoice) -> int:
    return sum(one.amount_minor for one in invoice.lines if one.kind in ADVANCE)


def _book(book: Book, invoice: Invoice, at: datetime) -> None:
    ahead_minor, tax_minor = _ahead_minor(invoice), _tax_minor(invoice)
    given_minor = sum(
        one.amount_minor
        for one in invoice.lines
        if one.kind not in ADVANCE and one.kind not in ("credit_carried", "tax")
    )
    of = book.occurrence(invoice.id, at)
    if min(ahead_minor, given_minor, tax_minor) < 0:
        entry = ledger.invoice_gave_back(
            of, earned_minor=given_minor, deferred_minor=ahead_minor, tax_minor=tax_minor
        )
    else:
        entry = ledger.invoice_finalised(
            of,
            net_minor=ahead_minor + given_minor,
            tax_minor=tax_minor,
            deferred_minor=ahead_minor,
        )
    book.post(entry)


def _tax_minor(invoice: Invoice) -> int:
    return sum(one.amount_minor for one in invoice.lines if one.kind == "tax")


def use_credit(book: Book, at: datetime, invoice: Invoice) -> Invoice:
    """The invoice after the tenant's credit was put to it, as far as it goes."""
    amount_minor = min(book.credit_minor, invoice.due_minor)
    if amount_minor <= 0:
        return invoice
    # A later credit may be put to the same invoice, so the reference names its version too.
    of = book.occurrence(f"{invoice.id}.{invoice.version}", at)
    book.post(ledger.credit_applied(of, amount_minor=amount_minor))
    paid = book.put(allocate(invoice, amount_minor))
    _told_paid(book, paid, at)
    return paid


def receive(
    book: Book,
    invoice_id: str,
    reference: str,
    amount: Money,
    at: datetime,
    into: Literal["cash_clearing", "cash"] = "cash_clearing",
) -> Invoice:
    """Money came in for an invoice: what that no longer owes goes to the tenant's credit.

    ``reference`` names the payment; ``into`` is ``cash`` for what came straight to our bank.
    """
    invoice = book.invoices[invoice_id]
    allocated_minor = max(0, min(invoice.due_minor, amount.minor))
    of = book.occurrence(reference, at)
    book.post(
        ledger.payment_settled(
            of, amount_minor=amount.minor, allocated_minor=allocated_minor, into=into
        )
    )
    book.note(at, "payment.succeeded", invoice_id, amount)
    if not allocated_minor:
        return invoice
    paid = book.put(allocate(invoice, allocated_minor))
    _told_paid(book, paid, at)
    return paid


def _told_paid(book: Book, invoice: Invoice, at: datetime) -> None:
    if invoice.state == "paid":
        total = Money(minor=invoice.total_minor, currency=invoice.currency)
        book.note(at, "invoice.paid", invoice.id, total)


def annul(book: Book, invoice: Invoice, at: datetime, reason: CreditReason) -> None:
    """Take a final invoice back whole: void where no money was put to it, else by credit notes.

    One that is void already, or was never final, has nothing to be taken back.
    """
    if invoice.state not in ("open", "uncollectible", "paid"):
        return
    if not invoice.allocated_minor and not invoice.credited_minor and invoice.due_minor > 0:
        book.put(void(invoice))
        entry = book.entry_of("invoice_finalised", invoice.id)
        if entry is not None:
            book.post(ledger.reverse(entry, at))
        book.note(at, "invoice.voided", invoice.id)
        return
    if invoice.due_minor > 0:
        issue_credit(book, invoice, invoice.due_minor, "reduction", reason, at)
        invoice = book.invoices[invoice.id]
    left_minor = invoice.total_minor - invoice.credited_minor
    if left_minor > 0:
        issue_credit(book, invoice, left_minor, "balance", reason, at)


def issue_credit(
    book: Book,
    invoice: Invoice,
    amount_minor: int,
    kind: CreditKind,
    reason: CreditReason,
    at: datetime,
) -> CreditNote:
    """Issue and book one credit note; Refused (`credit_refused`) where it does not fit its invoice.

    What was not yet earned is taken out of deferred revenue first.
    """
    parts = {"of": "credit_note", "invoice": invoice.id, "version": invoice.version}
    note = CreditNote(
        id=f"credit_{canonical.digest(parts)[:_ID_DIGITS]}",
        tenant=book.tenant,
        invoice=invoice.id,
        number=book.sources.numbers("credit_note"),
        kind=kind,
        reason=reason,
        amount_minor=amount_minor,
        currency=invoice.currency,
        taxes=_taxes_in(invoice, amount_minor),
        issued_at=at,
    )
    if (refused := refuse_credit(invoice, note)) is not None:
        raise refused
    tax_minor = sum(one.amount_minor for one in note.taxes or ())
    net_minor = amount_minor - tax_minor
    book.post(
        ledger.credit_note_issued(
            book.occurrence(note.id, at),
            net_minor=net_minor,
            tax_minor=tax_minor,
            deferred_minor=max(0, min(net_minor, book.deferred_minor)),
            receivable_minor=amount_minor if kind == "reduction" else 0,
            credit_minor=amount_minor if kind == "balance" else 0,
            refund_minor=amount_minor if kind == "refund" else 0,
        )
    )
    book.credit_notes.append(note)
    book.put(_credited(invoice, amount_minor, kind))
    amount = Money(minor=amount_minor, currency=invoice.currency)
    book.note(at, "credit_note.issued", note.id, amount, note.number)
    return note


def _taxes_in(invoice: Invoice, amount_minor: int) -> tuple[TaxCharged, ...] | None:
    """What is tax in the next part of an invoice that is taken back; the last one takes the rest."""
    before_minor = invoice.credited_minor
    after_minor = before_minor + amount_minor
    if invoice.tax is None or not 0 < amount_minor <= invoice.total_minor - before_minor:
        return None
    return part_of(invoice.tax.charged, before_minor, after_minor, invoice.total_minor)


def _credited(invoice: Invoice, amount_minor: int, kind: CreditKind) -> Invoice:
    if kind == "reduction":
        return reduce(invoice, amount_minor)
    held = {name: getattr(invoice, name) for name in Invoice.model_fields}
    credited_minor = invoice.credited_minor + amount_minor
    return Invoice.model_validate(
        {**held, "version": invoice.version + 1, "credited_minor": credited_minor}
    )


def recognise(book: Book, until: datetime, *, keep_minor: int = 0) -> None:
    """What was invoiced ahead is earned, but for `keep_minor` of it: its period is over, or cut short.

    What a change that waits for its payment was invoiced for is no part of it: it may come to nothing.
    """
    change = book.subscription.pending_change
    waits = None if change is None else book.invoices.get(change.invoice)
    ahead_minor = 0 if waits is None else _ahead_minor(waits)
    amount_minor = book.deferred_minor - keep_minor - max(0, ahead_minor)
    if amount_minor > 0:
        reference, again = f"{book.subscription.id}.{canonical.instant(until)}", 1
        # A period may begin and be cut short at one instant.
        while book.entry_of("revenue_recognised", reference) is not None:
            reference, again = f"{reference.partition('#')[0]}#{again}", again + 1
        of = book.occurrence(reference, until)
        book.post(ledger.revenue_recognised(of, amount_minor=amount_minor))
