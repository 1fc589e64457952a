"""A tenant's subscription as its lifecycles write it: begun anew, ended. Not its billing."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.domain.plans import PlanOffer
from control_plane.domain.subscription import SUBSCRIPTION, Subscription
from control_plane.facts.load import subscription_row
from control_plane.store import rows, tables

_TABLE = tables.subscription


def subscribe(connection: Connection, tenant: str, made_id: str, offer: PlanOffer) -> None:
    """Put the tenant on a plan, active at once: the plan is free and nothing is due.

    ``made_id`` names the subscription where the tenant has never had one.
    """
    if subscription_row(connection, tenant) is None:
        made = Subscription(
            id=made_id,
            tenant=tenant,
            plan=offer.name,
            plan_version=offer.version,
            state="active",
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
        state="active",
        cancel_at_period_end=False,
        version=_TABLE.c.version + 1,
    )


def end_subscription(connection: Connection, tenant: str) -> None:
    """Cancel the tenant's subscription; nothing happens where it has none or it has ended."""
    found = subscription_row(connection, tenant)
    if found is None or found.state in SUBSCRIPTION.terminal:
        return
    state = SUBSCRIPTION.next(found.state, "cancel")
    rows.change(
        connection,
        _TABLE,
        _TABLE.c.tenant == tenant,
        state=state,
        version=_TABLE.c.version + 1,
    )
