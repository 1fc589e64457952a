"""A tenant's subscription as its lifecycles write it: begun anew, ended. Not how it goes on."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.billing import book_store
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import begin
from control_plane.billing.ending import cancel_now
from control_plane.billing.invoicing import annul
from control_plane.billing.starting import start
from control_plane.domain.plans import PlanOffer
from control_plane.domain.subscription import SUBSCRIPTION, Subscription
from control_plane.domain.terms import Agreement
from control_plane.facts.load import subscription_row
from control_plane.handlers.billing_moves import closed_by_run, opened
from control_plane.handlers.handler import Work
from control_plane.store import rows, tables

_TABLE = tables.subscription


def subscribe(
    work: Work, connection: Connection, tenant: str, offer: PlanOffer, agreed: Agreement | None
) -> str | None:
    """Put the tenant on a plan: active at once where nothing is due, else with its first invoice.

    Returns the attempt that is to be put to its provider, where there is one. Refused and BadInput
    where the plan is not offered on such terms.
    """
    found = subscription_row(connection, tenant)
    _begin(connection, tenant, work.run.id, offer, found, paid=agreed is not None)
    if agreed is None:
        return None
    now = work.ports.clock.now()
    book = book_store.load(connection, tenant, work.ports.catalog.plans)
    book.revise(
        terms=agreed.terms(now),
        method=agreed.method,
        method_set_at=None if agreed.method is None else now,
        running=(),
        pending_change=None,
        cancel_at_period_end=False,
        current_period_start=None,
        current_period_end=None,
        term_ends_at=None,
        paused_until=None,
    )
    start(book, now, first=found is None)
    advance(book, now)
    attempt: str | None = None
    if book.subscription.state == "incomplete":
        attempt = begin(book, book.owed()[-1].id, now).id
    closed_by_run(connection, book, work)
    return attempt


def _begin(
    connection: Connection,
    tenant: str,
    made_id: str,
    offer: PlanOffer,
    found: Subscription | None,
    *,
    paid: bool,
) -> None:
    state = "scheduled" if paid else "active"
    if found is None:
        made = Subscription(
            id=made_id,
            tenant=tenant,
            plan=offer.name,
            plan_version=offer.version,
            state="scheduled" if paid else "active",
        )
        kept = {column.name for column in _TABLE.columns}
        values = made.model_dump(mode="json", include=kept)
        connection.execute(_TABLE.insert().values(**values))
        return
    rows.change(
        connection,
        _TABLE,
        _TABLE.c.tenant == tenant,
        plan=offer.name,
        plan_version=offer.version,
        state=state,
        cancel_at_period_end=False,
        version=_TABLE.c.version + 1,
    )


def agreed_before(connection: Connection, tenant: str) -> Agreement | None:
    """What the tenant had agreed on, to be agreed on anew; None where its plan was free."""
    found = subscription_row(connection, tenant)
    if found is None or found.terms is None:
        return None
    terms = found.terms
    return Agreement(
        currency=terms.currency,
        interval=terms.interval,
        zone=terms.zone,
        collection=terms.collection,
        seats=terms.seats,
        add_ons=terms.add_ons,
        method=found.method,
    )


def end_subscription(work: Work, connection: Connection, *, taken_back: str | None = None) -> None:
    """Cancel the tenant's subscription now; nothing happens where it has none or it has ended.

    What is unused stands to the tenant's credit. ``taken_back`` is an invoice that nothing came of.
    """
    found = subscription_row(connection, work.run.tenant)
    if found is None or found.state in SUBSCRIPTION.terminal:
        return
    now = work.ports.clock.now()
    book = opened(connection, work.ports, work.run.tenant)
    if taken_back is not None:
        annul(book, book_store.bring(connection, book, taken_back), now, "cancellation")
        book.revise(running=())
    cancel_now(book, now, f"{work.run.id}.end")
    closed_by_run(connection, book, work)
