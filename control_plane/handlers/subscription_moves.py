"""A tenant's subscription as its lifecycles write it: begun anew, ended. Not how it goes on."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.billing import book_store
from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import begin
from control_plane.billing.coupons import admit, close, keep
from control_plane.billing.ending import cancel_now
from control_plane.billing.invoicing import annul
from control_plane.billing.starting import start
from control_plane.domain.plans import PlanOffer
from control_plane.domain.subscription import SUBSCRIPTION, Subscription
from control_plane.domain.terms import Agreement
from control_plane.facts.load import subscription_row
from control_plane.handlers.billing_moves import closed_by_run, loaded, opened
from control_plane.handlers.handler import Work
from control_plane.store import rows, tables

_TABLE = tables.subscription


def subscribe(
    work: Work,
    connection: Connection,
    tenant: str,
    offer: PlanOffer,
    agreed: Agreement | None,
    *,
    first: bool = True,
) -> str | None:
    """Put the tenant on a plan: active at once where nothing is due, else with its first invoice.

    A trial is for a tenant that is ``first`` put on a plan, and that had none yet. Returns the attempt that is to be put to its provider, where there is one. Refused and BadInput
    where the plan is not offered on such terms.
    """
    found = subscription_row(connection, tenant)
    _begin(connection, tenant, work.run.id, offer, found, paid=agreed is not None)
    if agreed is None:
        return None
    now = work.ports.clock.now()
    book = loaded(connection, work.ports.catalog, tenant)
    book.revise(
        terms=agreed.terms(now),
        method=agreed.method,
        method_set_at=None if agreed.method is None else now,
        buyer=agreed.buyer or book.subscription.buyer,
        running=(),
        pending_change=None,
        cancel_at_period_end=False,
        current_period_start=None,
        current_period_end=None,
        term_ends_at=None,
        paused_until=None,
    )
    if agreed.coupon is not None:
        keep(book, admit(book, agreed.coupon, offer.name, agreed.currency, now), now)
    start(book, now, first=first)
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
        buyer=found.buyer,
    )


def end_subscription(work: Work, connection: Connection) -> None:
    """Cancel the tenant's subscription now; nothing happens where it has none or it has ended.

    What is unused stands to the tenant's credit. A fixed term ends with the tenant.
    """
    book = _going(work, connection)
    if book is not None:
        _end(work, connection, book)


def take_back_subscription(work: Work, connection: Connection, invoice: str | None) -> None:
    """The same where nothing came of a first one: its invoice is void, its trial and coupon were not had."""
    book = _going(work, connection)
    if book is None:
        return
    close(book, work.ports.clock.now(), unused=True)
    if invoice is not None:
        now = work.ports.clock.now()
        annul(book, book_store.bring(connection, book, invoice), now, "cancellation")
        book.revise(running=())
    book.revise(trial_ends_at=None)
    _end(work, connection, book)


def _going(work: Work, connection: Connection) -> Book | None:
    found = subscription_row(connection, work.run.tenant)
    if found is None or found.state in SUBSCRIPTION.terminal:
        return None
    return opened(connection, work.ports, work.run.tenant)


def _end(work: Work, connection: Connection, book: Book) -> None:
    cancel_now(book, work.ports.clock.now(), f"{work.run.id}.end", released=True)
    closed_by_run(connection, book, work)
