"""A workspace's invoices for whoever runs it: listed, found by id or number, and made a document. Not a tool's answer."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.billing.invoice_document import InvoiceDocument, invoice_document
from control_plane.domain.invoice import Invoice
from control_plane.errors import NotFound
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.store import rows
from control_plane.store.billing_tables import invoice
from server.seller import parties
from server.workspace import Workspace


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


def document(connection: Connection, workspace: Workspace, one: Invoice) -> InvoiceDocument:
    """What the invoice says, with days of its customer's zone. BadInput as `parties`, Refused."""
    customer = tenant_row(connection, one.tenant)
    if customer is None:
        raise NotFound("there is no such tenant", code="tenant_absent")
    agreed = subscription_row(connection, one.tenant)
    zone = "UTC" if agreed is None or agreed.terms is None else agreed.terms.zone
    return invoice_document(one, parties(workspace, customer), zone=zone)


def _require_tenant(connection: Connection, tenant: str) -> None:
    if tenant_row(connection, tenant) is None:
        raise NotFound("there is no such tenant", code="tenant_absent")
