"""Books out of the store and back into it: what moved is written, what is booked is posted. Not the rules of billing.

A book is loaded and saved in one `Store.write` of its tenant, so nothing moves in between. Rows that
leaves vouch for are named by `guards_of`; who saves a book writes them into its leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Table, Update, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from control_plane.billing import coupon_store, ledger_store, seat_store, usage_store
from control_plane.billing.book import Book, Series, Sources
from control_plane.billing.clockwork import next_due_at
from control_plane.billing.ledger import Balances, Entry
from control_plane.billing.tax_file import Taxation
from control_plane.domain.canonical import instant, plain
from control_plane.domain.coupon_catalog import NO_COUPONS, CouponCatalog
from control_plane.domain.invoice import Invoice
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.refund import Refund
from control_plane.domain.terms import Terms
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.store import rows, tables
from control_plane.store.billing_tables import (
    billing_account,
    credit_note,
    invoice,
    payment_attempt,
    refund,
    series,
)

_PREFIX: Final[Mapping[Series, str]] = {"invoice": "INV", "credit_note": "CN"}
_MOVING: Final = ("draft", "open", "uncollectible")
# What goes on happening to an invoice that is final.
_STANDING: Final = frozenset(
    {"state", "allocated_minor", "credited_minor", "attempts", "next_attempt_at", "version"}
)
# Made once: to build a statement costs more than to run it.
_INVOICES: Final = select(invoice).where(
    invoice.c.tenant == bindparam("tenant"), invoice.c.state.in_(_MOVING)
)
_ATTEMPTS: Final = select(payment_attempt).where(
    payment_attempt.c.invoice.in_(bindparam("invoices", expanding=True))
)
_REFUNDS: Final = select(refund).where(
    refund.c.tenant == bindparam("tenant"), refund.c.state == "pending"
)
_SUBSCRIPTION: Final = update(tables.subscription).where(
    tables.subscription.c.tenant == bindparam("of_tenant"),
    tables.subscription.c.version == bindparam("of_version"),
)
_ACCOUNT: Final = update(billing_account).where(billing_account.c.tenant == bindparam("of_tenant"))
_NEXT: Final = (
    update(series)
    .where(series.c.name == bindparam("series"))
    .values(last=series.c.last + 1)
    .returning(series.c.last)
)


# Loading ---------------------------------------------------------------------------------------


def load(
    connection: Connection,
    tenant: str,
    plans: PlanCatalog,
    coupons: CouponCatalog = NO_COUPONS,
    tax: Taxation | None = None,
    records: Callable[[], int] = lambda: 0,
) -> Book:
    """The tenant's book, with every invoice that may still move. NotFound without a subscription.

    `coupons` are those that may be redeemed in it; one that was redeemed holds without them. `tax`
    is how what it bills is taxed, `records` says how many the tenant has, where that is asked.
    """
    subscription = subscription_row(connection, tenant)
    if subscription is None:
        raise NotFound("there is no subscription", code="subscription_not_found")
    found = connection.execute(_INVOICES, {"tenant": tenant}).mappings()
    invoices = {one.id: one for one in (rows.parse(Invoice, dict(row)) for row in found)}
    attempts = _attempts(connection, list(invoices)) if invoices else {}
    balances = ledger_store.balances(connection, tenant)
    redeemed = coupon_store.redemptions(connection, tenant)
    return Book(
        subscription=subscription,
        sources=sources(connection, tenant, plans, coupons, tax, records),
        invoices=invoices,
        attempts=attempts,
        refunds=_promised(connection, tenant, balances),
        balances=balances,
        redemptions=dict(redeemed),
        redemptions_before=redeemed,
    )


def sources(
    connection: Connection,
    tenant: str,
    plans: PlanCatalog,
    coupons: CouponCatalog = NO_COUPONS,
    tax: Taxation | None = None,
    records: Callable[[], int] = lambda: 0,
) -> Sources:
    """What a book asks the store for while it is worked on."""

    def used(start: datetime, _end: datetime) -> Mapping[str, Decimal]:
        # Usage is kept by the period in which it happened, which its start names.
        return usage_store.used(connection, tenant, start)

    return Sources(
        plans=plans,
        numbers=lambda name: _number(connection, name),
        usage=used,
        find_entry=lambda entry: ledger_store.find(connection, entry),
        unfit=lambda offer, terms: unfit(connection, tenant, offer, terms),
        records=records,
        coupons=coupons,
        tax=tax,
        redeemed=lambda code: coupon_store.redeemed(connection, code),
    )


def bring(connection: Connection, book: Book, invoice_id: str) -> Invoice:
    """An invoice of the tenant's that is over, taken into the book with its attempts. NotFound."""
    known = book.invoices.get(invoice_id)
    if known is not None:
        return known
    found = rows.by(connection, invoice.c.id, Invoice, invoice_id)
    if found is None or found.tenant != book.tenant:
        raise NotFound("there is no such invoice", code="invoice_not_found")
    book.invoices[invoice_id] = found
    book.attempts |= _attempts(connection, [invoice_id])
    return found


def bring_refunds(connection: Connection, book: Book, invoice_id: str) -> None:
    """Every refund of an invoice of the tenant's, taken into the book."""
    found = rows.every(connection, refund, Refund, refund.c.invoice == invoice_id)
    book.refunds = {one.id: one for one in found if one.tenant == book.tenant} | book.refunds


def _promised(connection: Connection, tenant: str, balances: Balances) -> dict[str, Refund]:
    # What is promised stands in the ledger: a tenant to whom nothing is, costs no look.
    if not any(account == "refunds" for account, _ in balances):
        return {}
    found = connection.execute(_REFUNDS, {"tenant": tenant}).mappings()
    return {one.id: one for one in (rows.parse(Refund, dict(row)) for row in found)}


def _attempts(connection: Connection, invoices: list[str]) -> dict[str, PaymentAttempt]:
    found = connection.execute(_ATTEMPTS, {"invoices": invoices}).mappings()
    return {one.id: one for one in (rows.parse(PaymentAttempt, dict(row)) for row in found)}


def unfit(connection: Connection, tenant: str, offer: PlanOffer, terms: Terms) -> tuple[str, ...]:
    """What of the tenant does not fit into a plan on such terms: isolation, cloud, region, seats."""
    found: list[str] = []
    known = tenant_row(connection, tenant)
    if known is not None and known.isolation not in offer.isolations:
        found.append("isolation")
    if known is not None and known.cloud not in offer.clouds:
        found.append("cloud")
    if known is not None and known.region not in offer.regions:
        found.append("region")
    size = min(terms.seats, offer.quotas.seats_max) if terms.seats else offer.quotas.seats_max
    held = seat_store.held(connection, tenant, terms.anchor_at)
    if held.assigned + held.reserved > size:
        found.append("seats")
    return tuple(found)


def _number(connection: Connection, name: Series) -> str:
    last = connection.execute(_NEXT, {"series": name}).scalar()
    if last is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(series).values(name=name, last=1))
            last = 1
        except IntegrityError:
            # Another tenant's first number came in between.
            last = connection.execute(_NEXT, {"series": name}).scalar_one()
    return f"{_PREFIX[name]}-{last:06d}"


# Saving ----------------------------------------------------------------------------------------


def guards_of(book: Book) -> tuple[tuple[str, str], ...]:
    """The guarded rows that saving the book changes: (table, key)."""
    moved = [("invoice", one) for one in sorted(book.touched) if one in book.invoices]
    notes = [("credit_note", one.id) for one in book.credit_notes]
    entries = [ledger_store.guard_of(one) for one in book.entries]
    own = [("subscription", book.tenant), ("billing_account", book.tenant)]
    coupons = [("redemption", one) for one in coupon_store.moved(book)]
    return (*own, *moved, *notes, *entries, *coupons)


def save(connection: Connection, book: Book) -> None:
    """Write what moved. Conflict where the subscription is no longer the one that was loaded."""
    book.refresh()
    _save_subscription(connection, book)
    for one in sorted(book.touched):
        if one in book.invoices:
            _put(connection, invoice, book.invoices[one])
        elif one in book.refunds:
            _put(connection, refund, book.refunds[one])
        else:
            _put(connection, payment_attempt, book.attempts[one])
    for note in book.credit_notes:
        connection.execute(insert(credit_note), _values(credit_note, note))
    for entry in book.entries:
        _post(connection, entry)
    coupon_store.save(connection, book)


def _save_subscription(connection: Connection, book: Book) -> None:
    held = book.subscription
    saved = held.model_copy(update={"version": held.version + 1})
    values = _values(tables.subscription, saved)
    asserted = {"of_tenant": held.tenant, "of_version": held.version}
    if connection.execute(_SUBSCRIPTION, values | asserted).rowcount != 1:
        raise Refused(
            "The subscription changed in the meantime.", code="subscription_moved", fact="version"
        )
    due_at = next_due_at(book)
    account = _values(billing_account, saved) | {
        "next_due_at": None if due_at is None else instant(due_at)
    }
    if connection.execute(_ACCOUNT, account | {"of_tenant": held.tenant}).rowcount != 1:
        connection.execute(insert(billing_account), account)
    book.subscription = saved


def _put(connection: Connection, table: Table, record: Invoice | PaymentAttempt | Refund) -> None:
    values, which = _values(table, record), {"of_id": record.id}
    if connection.execute(_edit(table, final=False), values | which).rowcount == 1:
        return
    if table is invoice:
        standing = {name: value for name, value in values.items() if name in _STANDING}
        if connection.execute(_edit(table, final=True), standing | which).rowcount:
            return
    connection.execute(insert(table), values)


@cache
def _edit(table: Table, *, final: bool) -> Update:
    edit = update(table).where(table.c.id == bindparam("of_id"))
    # The database refuses even to write again what a final invoice keeps.
    return edit.where(table.c.number.is_(None)) if table is invoice and not final else edit


def _post(connection: Connection, entry: Entry) -> None:
    if not ledger_store.post(connection, entry):
        raise Refused(
            "The event is posted already.",
            code="ledger_altered",
            rule="ledger.append_only",
            fact="cause",
        )


def _values(table: Table, record: Any) -> dict[str, Any]:
    told = plain(record)
    assert isinstance(told, dict), "a record is told as an object"
    return {name: value for name, value in told.items() if name in table.c}
