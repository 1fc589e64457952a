"""The steps of offboarding: shut, back up, prove the backup, remove. Not their order of execution: the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sqlalchemy import Connection, select

from control_plane.commands import OffboardTenant
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json
from control_plane.domain.house import is_house
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed
from control_plane.handlers import backups, handovers, stack_steps, suspend_steps
from control_plane.handlers.backup_proof import Wanted, prove, taken
from control_plane.handlers.database_rows import move_database, settle_database, standing
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.house_cause import still_unsettled
from control_plane.handlers.removing import destroy_stack
from control_plane.handlers.stack_records import record_gone
from control_plane.handlers.subscription_moves import end_subscription
from control_plane.handlers.tenant_moves import (
    database_of,
    inside_of,
    move_tenant,
    noted,
    noted_now,
    set_data_epoch,
    tenant_now,
    tenant_of,
)
from control_plane.store import tables

PROVING = "verify_backup"
# From here on nothing brings back what a step has done.
DESTROYING = ("drop_database", "destroy")
# Tenants that nobody could write for since their data was last backed up, or that never had any.
_SHUT_BEFORE = frozenset({"provision_failed", "deprovision_failed"})


def retention(work: Work) -> tuple[int, str]:
    """How long the plan in hand keeps the tenant restorable: days, and the instant they end."""
    parts = _mapping((work.run.plan or {}).get("parts"))
    kept = _mapping(parts.get("retention"))
    return int(str(kept["days"])), str(kept["restorable_until"])


# Shutting ------------------------------------------------------------------------------------


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the tenant out of use; what it was is noted for the way back."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    settle_database(work, inside, "stop")
    move_tenant(inside, tenant, "deprovision", access_mode="none")
    handovers.tell_access(work, inside, "none")
    set_data_epoch(inside, tenant.id, 0)
    return {"from": tenant.state}


def stand_down(work: Work, connection: Connection | None) -> None:
    """Leave the tenant shut: suspended, or with something beyond undoing, failed."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    came_from = noted(work, inside, "begin").get("from")
    _leave_databases(work, inside)
    if _destroying_begun(work, inside) or came_from in _SHUT_BEFORE:
        move_tenant(inside, tenant, "fail")
        return
    # What the house has shut it opens again by itself: it leaves no reason that a human must clear.
    by_house, reasons = is_house(work.run.principal), tenant.suspend_reasons
    if not by_house or not reasons:
        reasons |= {"billing" if by_house else "operator"}
    move_tenant(inside, tenant, "cancel", suspend_reasons=sorted(reasons))


def _leave_databases(work: Work, connection: Connection) -> None:
    for one in standing(connection, tenant_of(work, connection)):
        if one.state == "stopping":
            move_database(work, connection, one, "succeed")
        elif one.state == "deleting":
            move_database(work, connection, one, "fail")


def _destroying_begun(work: Work, connection: Connection) -> bool:
    table = tables.run_step
    where = (table.c.run_id == work.run.id) & table.c.name.in_(DESTROYING)
    return connection.execute(select(table.c.name).where(where)).first() is not None


# The backup ----------------------------------------------------------------------------------


def back_up(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Archive the tenant's data, or answer for the archive that an earlier run has proven."""
    with work.ports.store.read() as reading:
        mine = backups.backup_of_run(reading, work.run.id)
        earlier = backups.proven(reading, work.run.tenant)
    came_from = noted_now(work, "begin").get("from")
    if mine is None and came_from == "deprovision_failed" and earlier is not None:
        # Part of the data may be gone since: only the archive from before is whole.
        mine = earlier
        backups.take_over(work, earlier, retention(work)[1])
    if mine is None:
        mine = _archived(work, may_be_absent=came_from in _SHUT_BEFORE)
        backups.keep(work, mine)
    return {"backup_id": mine.id, "digest": mine.digest}


def _archived(work: Work, *, may_be_absent: bool) -> Backup:
    tenant, (engine, model) = work.run.tenant, database_of(work)
    collections = stack_steps.collections_of(work)
    if engine.exists(tenant, model):
        source = engine.reading(tenant, model)
    elif may_be_absent:
        # Onboarding never came so far: an empty database is what it would have been.
        source = engine.scratch(tenant, model, collections)
    else:
        raise Failed("The tenant's database is gone.", code="database_missing")
    wanted = Wanted(backups.own_id(work.run.id), tenant_now(work).home, retention(work)[1])
    with source as rows_of:
        return taken(work, rows_of, collections, wanted)


def probe_backup(work: Work) -> Probe:
    """Whether this run answers for a backup: its row is written when the archive is whole."""
    with work.ports.store.read() as connection:
        found = backups.backup_of_run(connection, work.run.id)
    return "absent" if found is None else "present"


def verify_backup(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Restore the archive on trial; it must come to what its manifest says, and to what stands."""
    tenant, (engine, model) = work.run.tenant, database_of(work)
    backup = backup_in_hand(work)
    own = backup.id == backups.own_id(work.run.id)
    # One that was taken over from an earlier run may be of an earlier catalog.
    collections = stack_steps.collections_of(work) if own else backups.declared(work, backup)
    if own and engine.exists(tenant, model):
        with engine.reading(tenant, model) as source:
            prove(work, backup, engine, collections, source)
    else:
        prove(work, backup, engine, collections)
    backups.mark_verified(work, backup)
    return {"backup_id": backup.id}


def backup_in_hand(work: Work) -> Backup:
    """The backup that this run answers for; Failed (``backup_missing``)."""
    with work.ports.store.read() as connection:
        found = backups.backup_of_run(connection, work.run.id)
    if found is None:
        raise Failed("There is no backup.", code="backup_missing")
    return found


# Removing ------------------------------------------------------------------------------------


def condemn(work: Work, connection: Connection) -> None:
    """What the run was asked for still holds: from here on the tenant's databases are being deleted."""
    still_unsettled(work, connection)
    for one in standing(connection, tenant_of(work, connection)):
        if one.state == "stopping":
            move_database(work, connection, one, "succeed")
    for one in standing(connection, tenant_of(work, connection)):
        if one.state != "deleting":
            move_database(work, connection, one, "delete")


def drop_database(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Remove the tenant's data wherever it stands; what was removed already is fine."""
    for engine, model in _places(work):
        engine.drop(work.run.tenant, model, work.epoch)
        if engine.exists(work.run.tenant, model):
            raise Failed("The database is still there.", code="database_remains", retryable=True)
    # The logins went with the places that they were let into.
    handovers.forget_secrets(work)
    return {"dropped": True}


def probe_dropped(work: Work) -> Probe:
    """Whether the tenant's data is gone."""
    remains = any(engine.exists(work.run.tenant, model) for engine, model in _places(work))
    return "absent" if remains else "present"


def _places(work: Work) -> list[tuple[DatabaseEngine, Isolation]]:
    # The one that serves goes first, or who is refused another would still find rows in it.
    with work.ports.store.read() as connection:
        tenant = tenant_of(work, connection)
        others = [one.home for one in standing(connection, tenant)]
    databases = work.ports.databases
    every = dict.fromkeys([tenant.home, *others])
    return [(databases.at(home), home.isolation) for home in every]


def destroy(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the stack away, as it was approved."""
    destroy_stack(work, stack_steps.stack_request(work))
    return {"destroyed": True}


def probe_destroyed(work: Work) -> Probe:
    """Whether the stack is gone."""
    seen = stack_steps.provisioner_of(work).settle(
        stack_steps.stack_request(work), should_stop=stack_steps.beating(work)
    )
    return "present" if seen == "absent" else "absent"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Say that the tenant is gone, and until when it can be restored."""
    inside = inside_of(connection)
    assert isinstance(work.command, OffboardTenant)
    if work.command.proposed_cancel:
        end_subscription(work, inside)
    until = retention(work)[1]
    record_gone(work, inside, stack_steps.request_of(work, tenant_of(work, inside)))
    for one in standing(inside, tenant_of(work, inside)):
        move_database(work, inside, one, "succeed")
    handovers.tell_gone(work, inside)
    state = move_tenant(inside, tenant_of(work, inside), "succeed", restorable_until=until)
    return {"state": state, "restorable_until": until}


def _mapping(value: object) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}


STEPS: tuple[Step, ...] = (
    Step("begin", do=begin, undo=stand_down),
    Step("close", do=suspend_steps.close, probe=suspend_steps.probe_closed, outside=True),
    Step("backup", do=back_up, probe=probe_backup, outside=True),
    Step(PROVING, do=verify_backup, outside=True),
    Step(
        "drop_database",
        do=drop_database,
        probe=probe_dropped,
        outside=True,
        irreversible=True,
        still=condemn,
    ),
    Step("destroy", do=destroy, probe=probe_destroyed, outside=True, irreversible=True),
    Step("finish", do=finish, irreversible=True),
)
