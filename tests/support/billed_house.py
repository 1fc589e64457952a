"""A tenant with terms and past invoices written into a workspace's store. Holds no test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from control_plane.billing import book_store
from control_plane.domain.invoice import Invoice, InvoiceLine, allocate, finalize, line_id
from control_plane.domain.subscription import Subscription
from control_plane.domain.tenant import Tenant
from control_plane.domain.terms import Method, Terms
from control_plane.store import billing_tables, rows, tables
from server.catalog import load_applied
from tests.support.house import House

PLAN = "business"
AMOUNT_MINOR = 6700  # of the sample's plan: 49.00, and twice 9.00


def agreed(house: House, tenant: str, *, invoices: int) -> None:
    """A tenant in the midst of a period, with 2 seats, whose invoices are all paid."""
    now = datetime.now(UTC)
    began = now - timedelta(days=3)
    held = Subscription.model_validate(
        {
            "id": tenant,
            "tenant": tenant,
            "plan": PLAN,
            "plan_version": 1,
            "state": "active",
            "terms": Terms(currency="EUR", anchor_at=began, seats=2),
            "method": Method(provider="sandbox", reference="sandbox_ok"),
            "method_set_at": began,
            "current_period_start": began,
            "current_period_end": began + timedelta(days=31),
        }
    )
    known = {column.name for column in tables.subscription.columns}
    with house.store() as store, store.write(tenant) as connection:
        rows.put(connection, tables.tenant, _tenant(tenant))
        told = held.model_dump(mode="json", include=known)
        connection.execute(tables.subscription.insert().values(**told))
        book = book_store.load(
            connection, tenant, load_applied(connection, house.workspace.catalogs).plans
        )
        book.revise(**{name: getattr(held, name) for name in Subscription.model_fields})
        book_store.save(connection, book)
        for number in range(1, invoices + 1):
            at = began - timedelta(days=31 * (invoices - number))
            rows.put(connection, billing_tables.invoice, _paid(tenant, number, at))


def _tenant(name: str) -> Tenant:
    return Tenant(
        id=name,
        display_name=name.title(),
        isolation="pooled",
        plan=PLAN,
        region="local",
        state="active",
        access_mode="full",
    )


def _paid(tenant: str, number: int, at: datetime) -> Invoice:
    named = f"{tenant}_{number}"
    line = InvoiceLine(
        id=line_id(named, "base", "plan"),
        invoice=named,
        kind="base",
        reference="plan",
        description="Business",
        amount_minor=AMOUNT_MINOR,
        currency="EUR",
    )
    draft = Invoice(
        id=named, tenant=tenant, currency="EUR", lines=(line,), total_minor=AMOUNT_MINOR
    )
    return allocate(finalize(draft, f"{tenant.upper()}-{number}", at, at), AMOUNT_MINOR)
