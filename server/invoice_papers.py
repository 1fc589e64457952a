"""A workspace's invoices and credit notes for whoever runs it: listed, found by id or number, and made a document. Not a tool's answer."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.billing.invoice_document import (
    EarlierLine,
    InvoiceDocument,
    credit_note_document,
    invoice_document,
    shown_lines,
)
from control_plane.domain.canonical import instant
from control_plane.domain.credit_note import CreditNote
from control_plane.domain.invoice import Invoice
from control_plane.errors import NotFound
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.store import rows
from control_plane.store.billing_tables import credit_note, invoice
from server.seller import parties
from server.workspace import Workspace

_LOOKED_AT_MAX: Final = 200
"""Among how many invoices a line is looked for: what is taken back was charged in this period."""


def listed(connection: Connection, tenant: str, limit: int) -> list[Invoice]:
    """A tenant's final invoices, the newest first; NotFound (`tenant_absent`)."""
    _require_tenant(connection, tenant)
    return rows.every(
        connection,
        invoice,
        Invoice,
        (invoice.c.tenant == tenant) & invoice.c.finalized_at.is_not(None),
        order_by=invoice.c.finalized_at.desc(),
        limit=limit,
    )


def found(connection: Connection, tenant: str, name: str) -> Invoice:
    """One of a tenant's invoices by its id or its number; NotFound (`tenant_absent`, `invoice_not_found`)."""
    _require_tenant(connection, tenant)
    named = (invoice.c.id == name) | (invoice.c.number == name)
    one = rows.first(connection, invoice, Invoice, (invoice.c.tenant == tenant) & named)
    if one is None:
        raise NotFound("there is no such invoice", code="invoice_not_found")
    return one


def paper(connection: Connection, workspace: Workspace, tenant: str, name: str) -> InvoiceDocument:
    """One of a tenant's invoices or credit notes, by its id or its number, with days of their zone.

    NotFound (`tenant_absent`, `invoice_not_found`); BadInput as `parties`, Refused.
    """
    customer = tenant_row(connection, tenant)
    if customer is None:
        raise NotFound("there is no such tenant", code="tenant_absent")
    table = credit_note
    named = (table.c.id == name) | (table.c.number == name)
    note = rows.first(connection, table, CreditNote, (table.c.tenant == tenant) & named)
    one = found(connection, tenant, name if note is None else note.invoice)
    agreed = subscription_row(connection, tenant)
    zone = "UTC" if agreed is None or agreed.terms is None else agreed.terms.zone
    buyer = one.buyer
    if one.number is None and agreed is not None:
        buyer = agreed.buyer
    both = parties(workspace, customer, buyer, one.tax)
    if note is not None:
        return credit_note_document(note, one, both, zone=zone, taxes=note.taxes or ())
    taxes = () if one.tax is None else one.tax.charged
    return invoice_document(one, both, zone=zone, taxes=taxes, earlier=_earlier(connection, one))


def _earlier(connection: Connection, one: Invoice) -> dict[str, EarlierLine]:
    """The lines of earlier invoices that this one takes back, as those invoices number them."""
    own = {line.id for line in one.lines}
    wanted = {line.reverses for line in one.lines if line.reverses} - own
    places: dict[str, EarlierLine] = {}
    if not wanted:
        return places
    before = (invoice.c.tenant == one.tenant) & invoice.c.number.is_not(None)
    if one.finalized_at is not None:
        before &= invoice.c.finalized_at <= instant(one.finalized_at)
    newest = invoice.c.finalized_at.desc()
    for each in rows.every(
        connection, invoice, Invoice, before, order_by=newest, limit=_LOOKED_AT_MAX
    ):
        for position, line in enumerate(shown_lines(each), start=1):
            if line.id in wanted:
                places[line.id] = EarlierLine(number=each.number or "", position=position)
    return places


def _require_tenant(connection: Connection, tenant: str) -> None:
    if tenant_row(connection, tenant) is None:
        raise NotFound("there is no such tenant", code="tenant_absent")
