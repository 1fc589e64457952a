"""The tax on one invoice: what each of its lines is taxed with, and what that comes to. Not which rates hold: an engine says so.

What is charged is taxed by the rules of now. What is given back takes the tax back that was charged
on it, whatever the rules are by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from control_plane.billing.book import Book
from control_plane.billing.charging import carried_line
from control_plane.billing.tax import TaxableLine, TaxLine, invoice_line, tax_line
from control_plane.billing.tax_file import Taxation
from control_plane.domain.buyer import Buyer
from control_plane.domain.invoice import Invoice, InvoiceLine
from control_plane.domain.money import Money
from control_plane.domain.tax import InvoiceTax, Rate
from control_plane.domain.terms import Running

_UNTAXED = frozenset({"tax", "credit_carried"})


def taxed(
    book: Book, invoice: str, lines: Sequence[InvoiceLine], at: datetime
) -> tuple[tuple[InvoiceLine, ...], InvoiceTax | None]:
    """The lines with a line for each tax on them as of `at`, and how they were taxed.

    None where no engine is declared, or nothing is to be taxed. Errors as the engine's.
    """
    rules = book.sources.tax
    net = [one for one in lines if one.kind not in _UNTAXED]
    if rules is None or not net:
        return tuple(lines), None
    buyer = book.subscription.buyer
    found = _taxes(book, rules, net, at)
    tax = InvoiceTax(
        rules=rules.engine.rules,
        seller=rules.seller,
        customer=None if buyer is None else buyer.party,
        charged=tuple(one.charged for one in found),
    )
    return (*lines, *(invoice_line(invoice, one) for one in found)), tax


def with_tax(book: Book, draft: Invoice, at: datetime) -> Invoice:
    """A draft made ready to become final: to whom it is made out, and with its tax, if it has none yet."""
    lines, tax = draft.lines, draft.tax
    if tax is None:
        bare = tuple(one for one in lines if one.kind not in _UNTAXED)
        lines, tax = taxed(book, draft.id, bare, at)
        if tax is None:
            lines = draft.lines
    total_minor = sum(one.amount_minor for one in lines)
    if total_minor < 0:
        lines = (
            *lines,
            carried_line(draft.id, Money(minor=-total_minor, currency=draft.currency)),
        )
    held = {name: getattr(draft, name) for name in Invoice.model_fields}
    ready = {
        "lines": lines,
        "total_minor": max(0, total_minor),
        "tax": tax,
        "buyer": book.subscription.buyer,
    }
    return Invoice.model_validate({**held, **ready})


def remember(book: Book, invoice: Invoice, at: datetime) -> None:
    """Keep with what runs how it was taxed; and tell where nobody knew the customer's country."""
    tax = invoice.tax
    if tax is None:
        return
    if tax.customer is None:
        book.note(at, "invoice.country_unknown", invoice.id)
    change, running = book.subscription.pending_change, book.subscription.running
    book.revise(running=_kept(running, invoice, tax))
    if change is not None and change.running:
        after = change.model_copy(update={"running": _kept(change.running, invoice, tax)})
        book.revise(pending_change=after)


def _kept(running: tuple[Running, ...], invoice: Invoice, tax: InvoiceTax) -> tuple[Running, ...]:
    own = {one.id for one in invoice.lines}
    return tuple(
        one.model_copy(update={"taxed": tax.rates_of(one.line)}) if one.line in own else one
        for one in running
    )


def require_taxable(rules: Taxation | None, buyer: Buyer, at: datetime) -> None:
    """Refused (`tax_unknown`) where the engine could not say what a customer is taxed with at `at`."""
    if rules is not None:
        # Nothing in any currency: only whether it can be said at all is asked.
        nothing = TaxableLine(id="nothing", kind="base", net=Money(minor=0, currency="EUR"))
        rules.engine.tax(rules.seller, buyer.party, (nothing,), at)


def _taxes(
    book: Book, rules: Taxation, lines: Sequence[InvoiceLine], at: datetime
) -> tuple[TaxLine, ...]:
    charged, back = list[TaxableLine](), list[tuple[TaxableLine, tuple[Rate, ...]]]()
    for one in lines:
        line, then = _taxable(one), _taxed_then(book, one)
        if then is None:
            charged.append(line)
        else:
            back.append((line, then))
    buyer = book.subscription.buyer
    party = None if buyer is None else buyer.party
    found = {one.rate: one for one in rules.engine.tax(rules.seller, party, charged, at)}
    by_id = {one.id: one for one in charged}
    for rate in dict.fromkeys(rate for _, rates in back for rate in rates):
        now = found.get(rate)
        own = [] if now is None else [by_id[share.line] for share in now.shares]
        own += [line for line, rates in back if rate in rates]
        found[rate] = tax_line(rate.jurisdiction, rate.rate_percent, rate.reason, own)
    return tuple(sorted(found.values(), key=_place))


def _place(one: TaxLine) -> tuple[str, str, str]:
    return one.jurisdiction, one.reason, f"{one.rate_percent:020.9f}"


def _taxable(line: InvoiceLine) -> TaxableLine:
    return TaxableLine.model_validate(
        {
            "id": line.id,
            "kind": line.kind,
            "net": Money(minor=line.amount_minor, currency=line.currency),
        }
    )


def _taxed_then(book: Book, line: InvoiceLine) -> tuple[Rate, ...] | None:
    """How what a line takes back was taxed; None for a line that is taxed by the rules of now."""
    if line.kind != "proration_credit":
        return None
    held = next((one for one in book.subscription.running if one.line == line.reverses), None)
    if held is not None and held.taxed is not None:
        return held.taxed
    due = book.subscription.unbilled
    draft = None if due is None else book.invoices.get(due.invoice)
    if draft is not None and any(one.id == line.reverses for one in draft.lines):
        # It comes onto that invoice before anything else: by the same rules.
        return None
    return ()
