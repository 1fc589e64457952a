"""The steps of a resumption, each with its inverse. Not their order of execution: the engine's.

While other reasons stand, the first step is all there is: the tenant stays as shut as it was.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from control_plane.commands import ResumeTenant
from control_plane.domain.canonical import Json
from control_plane.errors import Failed, NotFound
from control_plane.handlers import handovers, stack_steps
from control_plane.handlers.database_rows import settle_database
from control_plane.handlers.handler import Step, Work
from control_plane.handlers.tenant_moves import (
    change_tenant,
    data_epoch_of,
    database_of,
    inside_of,
    move_tenant,
    noted,
    set_data_epoch,
    tenant_now,
    tenant_of,
)


def clear(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the reason away; returns what was, for the inverse."""
    assert isinstance(work.command, ResumeTenant)
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    left = sorted(tenant.suspend_reasons - {work.command.proposed_reason})
    if left:
        change_tenant(inside, tenant, suspend_reasons=left)
    else:
        move_tenant(inside, tenant, "clear", suspend_reasons=left)
        settle_database(work, inside, "start")
    return {"suspend_reasons": [*sorted(tenant.suspend_reasons)]}


def put_back(work: Work, connection: Connection | None) -> None:
    """The reason is back, and the tenant suspended."""
    inside = inside_of(connection)
    was = noted(work, inside, "clear")["suspend_reasons"]
    tenant = tenant_of(work, inside)
    if tenant.state == "resuming":
        settle_database(work, inside, "fail")
        move_tenant(inside, tenant, "fail", suspend_reasons=was)
    elif tenant.state == "suspended":
        change_tenant(inside, tenant, suspend_reasons=was)


def open_database(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that stack and database are as they should be, open the fence, and look again."""
    tenant = tenant_now(work)
    if tenant.state != "resuming":
        return {"ready": False}
    # At this worker's epoch: what was decided before the suspension is of an earlier one.
    opened = stack_steps.verify_ready(work, connection)
    engine, model = database_of(work)
    if engine.open_at(tenant.id, model) != work.epoch:
        raise Failed("The database did not open.", code="database_not_ready", retryable=True)
    handovers.limit(work, "full")
    return opened


def shut_database(work: Work, connection: Connection | None) -> None:
    """Shut it again; a tenant that was left suspended was never opened."""
    with suppress(NotFound):
        handovers.limit(work, tenant_now(work).access_mode)
        engine, model = database_of(work)
        engine.fence(work.run.tenant, model, work.epoch, open=False)


def activate(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Open the tenant, where the last reason is gone."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    if tenant.state != "resuming":
        return {"state": tenant.state}
    state = move_tenant(inside, tenant, "succeed", access_mode="full")
    settle_database(work, inside, "succeed")
    handovers.tell_access(work, inside, "full")
    set_data_epoch(inside, tenant.id, data_epoch_of(work, inside, "open"))
    return {"state": state}


STEPS: tuple[Step, ...] = (
    Step("clear", do=clear, undo=put_back),
    Step("open", do=open_database, undo=shut_database, outside=True),
    Step("activate", do=activate, irreversible=True),
)
