"""How many records a tenant may have by its plan, and has. Not the count itself, nor where it holds."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

from control_plane.data.record_count import records_of
from control_plane.domain.plans import PlanCatalog
from control_plane.errors import NotFound
from control_plane.handlers.handler import Ports
from control_plane.handlers.record_place import place_of
from control_plane.store.tables import subscription

_PLAN: Final = select(subscription.c.plan, subscription.c.plan_version).where(
    subscription.c.tenant == bindparam("tenant")
)


def records_max(connection: Connection, plans: PlanCatalog, tenant: str) -> int:
    """How many records the tenant may have at most, by the plan that it is on now. One statement.

    None without a subscription, or on a version of a plan that is declared no more.
    """
    found = connection.execute(_PLAN, {"tenant": tenant}).first()
    if found is None:
        return 0
    try:
        return plans.offer(found.plan, found.plan_version).quotas.records_max
    except NotFound:
        return 0


def records_held(connection: Connection, ports: Ports, tenant: str) -> int:
    """How many records the tenant has: none without a database. Raises Unavailable."""
    place = place_of(connection, tenant)
    if place is None:
        return 0
    try:
        with place.reading(ports, tenant) as inside:
            return records_of(inside, tenant)
    except NotFound:
        return 0
