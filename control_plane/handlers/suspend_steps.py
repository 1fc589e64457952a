"""The steps of a suspension, each with its inverse and its probe. Not their order of execution: the engine's.

A silo's compute goes on running: on this machine a stack has none that could be stopped.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from control_plane.commands import SuspendTenant
from control_plane.domain.canonical import Json
from control_plane.domain.tenant import stricter
from control_plane.errors import Failed, NotFound
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.tenant_moves import (
    change_tenant,
    data_epoch,
    inside_of,
    model_of,
    move_tenant,
    noted,
    noted_now,
    set_data_epoch,
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
    set_data_epoch(inside, tenant.id, _open_again_at(work, inside, int(str(was["data_epoch"]))))


def _open_again_at(work: Work, connection: Connection, was: int) -> int:
    # Shut before, it stays shut; else the inverse of `close` has opened it, under its own epoch.
    if was == 0:
        return 0
    return int(str(noted(work, connection, "close").get("undone_epoch", was)))


def close(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Shut the database: a write that was decided before finds the fence closed."""
    # Where there is no database, no write gets in: that must not keep a tenant from being shut.
    with suppress(NotFound):
        work.ports.databases.fence(work.run.tenant, model_of(work), work.epoch, open=False)
    return {"open": False}


def reopen(work: Work, connection: Connection | None) -> None:
    """Open it at this worker's epoch, unless it was shut before."""
    if noted_now(work, "restrict")["data_epoch"] == 0:
        return
    with suppress(NotFound):
        work.ports.databases.fence(work.run.tenant, model_of(work), work.epoch, open=True)


def probe_closed(work: Work) -> Probe:
    """Whether no write gets in."""
    opened = work.ports.databases.open_at(work.run.tenant, model_of(work))
    return "present" if opened is None else "absent"


def verify_closed(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that it is shut; never assume."""
    if probe_closed(work) != "present":
        raise Failed("The database is still open.", code="database_open", retryable=True)
    return {"open": False}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Come to rest. A tenant to which only a reason was added has never left its state."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    if tenant.state == "suspending":
        return {"state": move_tenant(inside, tenant, "succeed")}
    return {"state": tenant.state}


STEPS: tuple[Step, ...] = (
    Step("restrict", do=restrict, undo=lift),
    Step("close", do=close, undo=reopen, probe=probe_closed, outside=True),
    Step("verify", do=verify_closed, outside=True),
    Step("finish", do=finish, irreversible=True),
)
