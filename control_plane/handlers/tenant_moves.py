"""What every lifecycle of a tenant needs: its subject, its moves, its fence, its steps' notes. No lifecycle itself."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from control_plane.databases.port import DatabaseEngine
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, instant
from control_plane.domain.isolation import Isolation
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import TENANT, Tenant
from control_plane.errors import Refused
from control_plane.facts.load import tenant_facts, tenant_row
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers.handler import Subject, View, Work
from control_plane.handlers.run_facts import run_facts
from control_plane.store import rows, tables

# The subject ---------------------------------------------------------------------------------


def tenant_subject(
    tenant: str,
    operation: str,
    view: View,
    run: Run | None,
    approval: Approval | None,
    step: str,
    proposed: Mapping[str, object],
    *,
    reads: tuple[str, ...] = ("read",),
) -> Subject:
    """The tenant under one operation: stage ``propose``, or ``apply`` with a run in hand.

    ``proposed`` holds the command's own values under the names of TenantFacts. The subject's
    ``loaded`` is empty.
    """
    known = tenant_facts(view.connection, view.caller, tenant, instant(view.ports.clock.now()))
    cloud = str(proposed.get("proposed_cloud") or "")
    known_run = run_facts(view, run, approval, step, tenant, cloud)
    asked = {"operation": operation, **proposed, **known_run}
    facts = TenantFacts.model_validate(known.model_dump() | asked)
    return Subject(id=tenant, facts=facts, reads=reads, acts=(facts.stage,), tenant=tenant)


# The row -------------------------------------------------------------------------------------


def inside_of(connection: Connection | None) -> Connection:
    """The store's transaction that an inside step is given."""
    assert connection is not None, "an inside step is given the store's transaction"
    return connection


def tenant_of(work: Work, connection: Connection) -> Tenant:
    """The run's tenant as it stands; Refused (``tenant_moved``) when it is gone."""
    found = tenant_row(connection, work.run.tenant)
    if found is None:
        raise Refused("The tenant is gone.", code="tenant_moved", fact="exists")
    return found


def tenant_now(work: Work) -> Tenant:
    """The same for an outside step, which is given no transaction."""
    with work.ports.store.read() as connection:
        return tenant_of(work, connection)


def move_tenant(connection: Connection, tenant: Tenant, event: str, **values: object) -> str:
    """Fire one event of the tenant's machine; returns the new state.

    Refused where it is not legal, and with code ``tenant_moved`` where the row is no longer the
    one in hand.
    """
    state = TENANT.next(tenant.state, event)
    change_tenant(connection, tenant, state=state, **values)
    return state


def change_tenant(connection: Connection, tenant: Tenant, **values: object) -> None:
    """Change columns that are no matter of the machine; Refused (``tenant_moved``)."""
    table = tables.tenant
    asserted = (table.c.id == tenant.id) & (table.c.version == tenant.version)
    if rows.change(connection, table, asserted, version=tenant.version + 1, **values) != 1:
        raise Refused("The tenant changed in the meantime.", code="tenant_moved", fact="state")


def database_of(work: Work) -> tuple[DatabaseEngine, Isolation]:
    """The engine that sees the database which serves the tenant, and the model that it stands in."""
    home = tenant_now(work).home
    return work.ports.databases.at(home), home.isolation


# The fence -----------------------------------------------------------------------------------


def data_epoch(connection: Connection, tenant: str) -> int:
    """The epoch at which the tenant's database stands open for writes; 0 while it does not."""
    table = tables.fence
    found = connection.execute(select(table.c.data_epoch).where(table.c.tenant == tenant)).scalar()
    return int(found or 0)


def set_data_epoch(connection: Connection, tenant: str, epoch: int) -> None:
    """Say at which epoch the tenant's database stands open; 0 where it does not."""
    table = tables.fence
    rows.change(connection, table, table.c.tenant == tenant, data_epoch=epoch)


# What steps have noted -------------------------------------------------------------------------


def noted(work: Work, connection: Connection, step: str) -> Mapping[str, Json]:
    """What a step of this run returned when it was done; empty when it was not.

    For a step that was settled by its probe: ``{"reconciled": True}``. For an outside step that
    was undone: ``{"undone_epoch": …}``, the epoch under which its inverse was carried out.
    """
    table = tables.run_step
    where = (table.c.run_id == work.run.id) & (table.c.name == step)
    found = connection.execute(select(table.c.observed).where(where)).scalar()
    return found or {}


def noted_now(work: Work, step: str) -> Mapping[str, Json]:
    """The same for an outside step, which is given no transaction."""
    with work.ports.store.read() as connection:
        return noted(work, connection, step)


def data_epoch_of(work: Work, connection: Connection, step: str = "verify") -> int:
    """The epoch at which a step without a probe has opened the database.

    A restart between that step and the next one has a later epoch than the database.
    """
    return int(str(noted(work, connection, step)["data_epoch"]))
