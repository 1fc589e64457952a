"""The steps of a suspension, each with its inverse and its probe. Not their order of execution: the engine's.

A silo's compute goes on running: on this machine a stack has none that could be stopped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast, get_args

from sqlalchemy import Connection

from control_plane.commands import SuspendTenant
from control_plane.domain.canonical import Json
from control_plane.domain.handover import Access
from control_plane.domain.tenant import stricter
from control_plane.errors import Failed, NotFound
from control_plane.handlers import handovers
from control_plane.handlers.database_rows import settle_database
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.tenant_moves import (
    change_tenant,
    data_epoch,
    database_of,
    inside_of,
    move_tenant,
    noted,
    noted_now,
    set_data_epoch,
    tenant_now,
    tenant_of,
)


def _command(work: Work) -> SuspendTenant:
    assert isinstance(work.command, SuspendTenant)
    return work.command


def restrict(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Add the reason and take the access, in one transaction: the next call is refused.

    Returns what was, for the inverse.
    """
    command, inside = _command(work), inside_of(connection)
    tenant = tenant_of(work, inside)
    reasons = sorted(tenant.suspend_reasons)
    was: dict[str, Json] = {
        "state": tenant.state,
        "suspend_reasons": [*reasons],
        "access_mode": tenant.access_mode,
        "data_epoch": data_epoch(inside, tenant.id),
    }
    move_tenant(
        inside,
        tenant,
        "suspend",
        suspend_reasons=sorted({*reasons, command.proposed_reason}),
        access_mode=stricter(tenant.access_mode, command.proposed_access),
    )
    set_data_epoch(inside, tenant.id, 0)
    settle_database(work, inside, "stop")
    handovers.tell_access(work, inside, tenant_of(work, inside).access_mode)
    return was


def lift(work: Work, connection: Connection | None) -> None:
    """Exactly what was: reasons, access, and the epoch at which the database stands open."""
    inside = inside_of(connection)
    was = noted(work, inside, "restrict")
    tenant = tenant_of(work, inside)
    values = {name: was[name] for name in ("suspend_reasons", "access_mode")}
    if tenant.state == "suspending":
        move_tenant(inside, tenant, "fail", **values)
    elif was["state"] == tenant.state:
        change_tenant(inside, tenant, **values)
    if was["state"] != "suspended":
        settle_database(work, inside, "fail")
    handovers.tell_access(work, inside, tenant_of(work, inside).access_mode)
    set_data_epoch(inside, tenant.id, _open_again_at(work, inside, int(str(was["data_epoch"]))))


def _open_again_at(work: Work, connection: Connection, was: int) -> int:
    # Shut before, it stays shut; else the inverse of `close` has opened it, under its own epoch.
    if was == 0:
        return 0
    return int(str(noted(work, connection, "close").get("undone_epoch", was)))


def close(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Shut the database: a write that was decided before finds the fence closed.

    Before it, to its own services: where the fence is closed, they are held to what they may.
    """
    # Where there is no database, no write gets in: that must not keep a tenant from being shut.
    with suppress(NotFound):
        handovers.limit(work, tenant_now(work).access_mode)
        engine, model = database_of(work)
        engine.fence(work.run.tenant, model, work.epoch, open=False)
    return {"open": False}


def reopen(work: Work, connection: Connection | None) -> None:
    """Open it at this worker's epoch, unless it was shut before; its services do what they did."""
    was = noted_now(work, "restrict")
    with suppress(NotFound):
        handovers.limit(work, _access(was["access_mode"]))
        if was["data_epoch"] == 0:
            return
        engine, model = database_of(work)
        engine.fence(work.run.tenant, model, work.epoch, open=True)


def _access(told: Json) -> Access:
    assert told in get_args(Access), "it was the tenant's"
    return cast("Access", told)


def probe_closed(work: Work) -> Probe:
    """Whether no write gets in, and its services do no more than they may."""
    engine, model = database_of(work)
    shut = engine.open_at(work.run.tenant, model) is None
    return "present" if shut and handovers.is_held(work, tenant_now(work).access_mode) else "absent"


def verify_closed(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that it is shut; never assume."""
    if probe_closed(work) != "present":
        raise Failed("The database is still open.", code="database_open", retryable=True)
    return {"open": False}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Come to rest. A tenant to which only a reason was added has never left its state."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    settle_database(work, inside, "succeed")
    if tenant.state == "suspending":
        return {"state": move_tenant(inside, tenant, "succeed")}
    return {"state": tenant.state}


STEPS: tuple[Step, ...] = (
    Step("restrict", do=restrict, undo=lift),
    Step("close", do=close, undo=reopen, probe=probe_closed, outside=True),
    Step("verify", do=verify_closed, outside=True),
    Step("finish", do=finish, irreversible=True),
)
