"""A tenant's database as what a call is about: its facts, as it stands and as it is to become. Not what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import instant
from control_plane.domain.database import Database
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.errors import Refused
from control_plane.facts.database import DatabaseFacts
from control_plane.facts.load import Standing, standing_of, subscription_row, tenant_row
from control_plane.handlers.database_rows import move_database, serving
from control_plane.handlers.handler import Subject, View, Work
from control_plane.handlers.run_facts import run_facts
from control_plane.handlers.tenant_moves import tenant_of

_SHUT: Final = "stopped"
PLACE = "read_place"
"""The action on a database that opens where it stands."""


def database_facts(
    tenant: Tenant, found: Database | None, standing: Standing, *, member: bool
) -> DatabaseFacts:
    """The facts of a database in hand; of None, that the tenant has no such one."""
    known: dict[str, object] = {
        "tenant_state": tenant.state,
        "access_mode": tenant.access_mode,
        "billing_level": standing.level,
    }
    if found is not None:
        known |= {"state": found.state, "purpose": found.purpose, "isolation": found.isolation}
    return DatabaseFacts.model_validate({"exists": found is not None, "member": member, **known})


def absent_database(view: View, tenant: str) -> DatabaseFacts:
    """The facts of a database of no tenant that there is."""
    return DatabaseFacts(exists=False, member=view.caller.member_of(tenant))


def database_subject(
    tenant: str,
    operation: str,
    view: View,
    run: Run | None,
    approval: Approval | None,
    step: str,
    proposed: Mapping[str, object],
) -> Subject:
    """The database that serves the tenant, under one operation; ``loaded`` is it, or None.

    ``proposed`` holds values under the names of DatabaseFacts.
    """
    found = tenant_row(view.connection, tenant)
    database = None if found is None else serving(view.connection, found)
    known = absent_database(view, tenant)
    if found is not None:
        now = instant(view.ports.clock.now())
        standing = standing_of(subscription_row(view.connection, tenant), now)
        known = database_facts(found, database, standing, member=known.member)
    asked = {
        "operation": operation,
        **proposed,
        **run_facts(view, run, approval, step, tenant),
    }
    facts = DatabaseFacts.model_validate(known.model_dump() | asked)
    return Subject(id=tenant, facts=facts, acts=(facts.stage,), tenant=tenant, loaded=database)


def move_serving(work: Work, connection: Connection, event: str) -> str:
    """Fire one event on the database that serves the run's tenant; the state that it is in then.

    A suspended tenant's stays shut: nobody writes there, and no other run has it while this one does.
    """
    found = serving_of(work, connection)
    return found.state if found.state == _SHUT else move_database(work, connection, found, event)


def serving_of(work: Work, connection: Connection) -> Database:
    """The database that serves the run's tenant; Refused (`no_database`)."""
    found = serving(connection, tenant_of(work, connection))
    if found is None:
        raise Refused("The tenant has no database.", code="no_database", fact="state")
    return found
