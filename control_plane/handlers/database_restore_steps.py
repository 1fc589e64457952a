"""The steps of bringing a tenant's data back beside what stands: place, load, verify, freeze, swap. Not the engine's order.

Until the swap the tenant stands where it did, and all that was made is taken away where the run ends
before. Behind it the old database is kept, closed, as the way back.
"""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.database_commands import RestoreDatabase
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json
from control_plane.domain.home import Home
from control_plane.errors import Failed, Refused
from control_plane.handlers import backups, handovers
from control_plane.handlers.database_places import (
    drop_place,
    engine_of,
    give_up_place,
    kept_until,
    make_place,
    noted_database,
    take_place,
    way_back,
)
from control_plane.handlers.database_rows import change_database, move_database
from control_plane.handlers.database_subject import serving_of
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.handovers import Credential
from control_plane.handlers.move_rows import columns_of
from control_plane.handlers.restore_steps import holds_backup, load_into
from control_plane.handlers.stack_steps import collections_of
from control_plane.handlers.tenant_moves import (
    change_tenant,
    data_epoch,
    inside_of,
    noted,
    noted_now,
    set_data_epoch,
    tenant_of,
)


def command_of(work: Work) -> RestoreDatabase:
    """The run's command."""
    assert isinstance(work.command, RestoreDatabase)
    return work.command


def planned_backup(work: Work) -> Backup:
    """The backup that was asked for, which must be as it was planned with."""
    parts = (work.run.plan or {}).get("parts")
    planned = parts.get("backup") if isinstance(parts, dict) else None
    with work.ports.store.read() as connection:
        found = backups.restorable(connection, work.run.tenant, command_of(work).backup)
    named = planned if isinstance(planned, dict) else {}
    if found is None or (found.id, found.digest) != (named.get("id"), named.get("digest")):
        raise Refused("The backup is no longer the one planned with.", code="backup_missing")
    return found


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the database in hand, and a place beside it; its calls go on."""
    inside, asked = inside_of(connection), command_of(work)
    source = serving_of(work, inside)
    move_database(work, inside, source, "restore")
    told: dict[str, Json] = {"source": source.id, "data_epoch": data_epoch(inside, work.run.tenant)}
    if asked.backup:
        target = take_place(work, inside, "incoming")
        served = handovers.exchange(inside, work.run.tenant, source.home, target.home)
        return {**told, **served, "target": target.id}
    former = way_back(inside, work.run.tenant, asked.former)
    if former is None:
        raise not_kept()
    served = handovers.exchange(inside, work.run.tenant, source.home, former.home)
    return {**told, **served, "former": former.id}


def stay(work: Work, connection: Connection | None) -> None:
    """The tenant stays where it is, and as it was."""
    inside = inside_of(connection)
    was = noted(work, inside, "begin")
    if "target" in was:
        give_up_place(work, inside, str(was["target"]))
    move_database(work, inside, serving_of(work, inside), "fail")
    # Thawed, it stands open under the epoch of who has thawed it.
    epoch = int(str(was["data_epoch"]))
    undone = int(str(noted(work, inside, "freeze").get("undone_epoch", epoch)))
    set_data_epoch(inside, work.run.tenant, undone if epoch else 0)


# The other side ------------------------------------------------------------------------------


def make(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make the place; a way back stands already."""
    return {"former": True} if _goes_back(work) else make_place(work, connection)


def load(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Load the backup there, whole in one transaction: what stands already is not loaded again."""
    if _goes_back(work):
        return {"loaded": False}
    engine, home = _target(work)
    return load_into(work, engine, home.isolation, planned_backup(work))


def probe_loaded(work: Work) -> Probe:
    """Whether the other side holds what it is to hold."""
    return "present" if _is_as_planned(work) else "absent"


def verify(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that the other side can be used and holds what it is to hold; never assume."""
    engine, home = _target(work)
    seen = engine.probe(work.run.tenant, home.isolation, collections_of(work))
    if seen != "ready":
        raise Failed("The database is not ready.", code="database_not_ready", retryable=True)
    if not _is_as_planned(work):
        raise Failed("The data is not as it was backed up.", code="restore_differs")
    return {"ready": True}


def _is_as_planned(work: Work) -> bool:
    if _goes_back(work):
        return True
    engine, home = _target(work)
    return holds_backup(work, engine, home.isolation, planned_backup(work))


# The swap ------------------------------------------------------------------------------------


def freeze(work: Work, connection: Connection | None) -> dict[str, Json]:
    """From here on nothing is written where the tenant stands, by whomever; reads go on."""
    handovers.limit(work, "read_only")
    engine, home = engine_of(work, noted_database(work, "source"))
    engine.fence(work.run.tenant, home.isolation, work.epoch, open=False)
    return {"open": False}


def thaw(work: Work, connection: Connection | None) -> None:
    """Open it again at this worker's epoch, unless it was shut before."""
    handovers.limit(work, "full")
    if noted_now(work, "begin")["data_epoch"] == 0:
        return
    engine, home = engine_of(work, noted_database(work, "source"))
    engine.fence(work.run.tenant, home.isolation, work.epoch, open=True)


def open_other(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Open the other side; nobody is told of it yet."""
    engine, home = _target(work)
    engine.fence(work.run.tenant, home.isolation, work.epoch, open=True)
    return {"data_epoch": work.epoch}


def shut_other(work: Work, connection: Connection | None) -> None:
    """A way back is closed again; a new place goes as a whole."""
    if _goes_back(work):
        engine, home = _target(work)
        engine.fence(work.run.tenant, home.isolation, work.epoch, open=False)


def swap(work: Work, connection: Connection | None) -> dict[str, Json]:
    """In one transaction the tenant stands on the other side: the next call goes there."""
    inside = inside_of(connection)
    source = noted_database(work, "source", inside)
    target = noted_database(work, _side(work), inside)
    until = kept_until(work, command_of(work).keep_days)
    # First, for one alone serves.
    move_database(work, inside, source, "succeed", purpose="former", kept_until=until)
    if _goes_back(work):
        change_database(work, inside, target, purpose="serving", kept_until=None)
    else:
        move_database(work, inside, target, "succeed", purpose="serving")
    change_tenant(inside, tenant_of(work, inside), **columns_of(target.home))
    set_data_epoch(inside, work.run.tenant, int(str(noted(work, inside, "open")["data_epoch"])))
    handovers.hand_over(work, inside, Credential.noted(noted(work, inside, "begin")["coming"]))
    return {"database": target.id, "former": source.id, "kept_until": until}


def not_kept() -> Refused:
    """No database of that id is kept as a way back."""
    return Refused("No such database is kept to go back to.", code="former_not_kept", rule="former")


def _goes_back(work: Work) -> bool:
    return not command_of(work).backup


def _side(work: Work) -> str:
    return "former" if _goes_back(work) else "target"


def _target(work: Work) -> tuple[DatabaseEngine, Home]:
    return engine_of(work, noted_database(work, _side(work)))


STEPS: tuple[Step, ...] = (
    Step("begin", do=begin, undo=stay),
    Step("place", do=make, undo=drop_place, outside=True),
    Step("load", do=load, probe=probe_loaded, outside=True),
    Step("verify", do=verify, outside=True),
    Step(
        "credential",
        do=handovers.make_coming,
        undo=handovers.unmake_coming,
        probe=handovers.probe_coming,
        outside=True,
    ),
    Step("freeze", do=freeze, undo=thaw, outside=True),
    Step("open", do=open_other, undo=shut_other, outside=True),
    Step("swap", do=swap, irreversible=True),
    Step("retire", do=handovers.retire_leaving, outside=True, irreversible=True),
)
