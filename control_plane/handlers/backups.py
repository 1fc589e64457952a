"""The rows of backups: found, kept, taken over, marked as proven, and the catalog of their day. Not the archives that they name."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.data.collection import Collection
from control_plane.data.tables import schema_digest
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, digest, instant
from control_plane.errors import Refused
from control_plane.handlers.backup_proof import archives_of
from control_plane.handlers.handler import Work
from control_plane.store import rows, tables

_TABLE = tables.backup


def own_id(run_id: str) -> str:
    """The id of the backup that a run makes: the same at each try."""
    return digest({"backup": run_id})[:32]


def backup_of_run(connection: Connection, run_id: str) -> Backup | None:
    """The backup that a run answers for, or None."""
    return rows.first(connection, _TABLE, Backup, _TABLE.c.run_id == run_id)


def proven(connection: Connection, tenant: str) -> Backup | None:
    """The tenant's backup that was restored on trial last and is still kept, or None."""
    where = (
        (_TABLE.c.tenant == tenant)
        & _TABLE.c.verified_at.is_not(None)
        & _TABLE.c.removed_at.is_(None)
    )
    newest = rows.every(
        connection, _TABLE, Backup, where, order_by=_TABLE.c.verified_at.desc(), limit=1
    )
    return newest[0] if newest else None


def restorable(connection: Connection, tenant: str, backup_id: str) -> Backup | None:
    """The tenant's backup of that id, where it was restored on trial and is still kept; or None."""
    found = rows.by(connection, _TABLE.c.id, Backup, backup_id)
    if found is None or found.tenant != tenant or found.removed_at is not None:
        return None
    return None if found.verified_at is None else found


def declared(work: Work, backup: Backup) -> tuple[Collection, ...]:
    """The collections as they were declared when the backup was made.

    Raises Refused: `catalog_absent` where that catalog is not kept, `schema_differs` where the one
    that is found is not what the backup says.
    """
    present = work.ports.catalog
    with work.ports.store.read() as connection:
        digest = _made_under(connection, backup)
    if digest is None and backup.kind is not None:
        digest = _told_beside(work, backup)
    if digest == present.digest:
        found = tuple(present.collections.values())
    elif digest is None or work.ports.catalogs is None:
        raise Refused("The catalog of the backup is not kept.", code="catalog_absent")
    else:
        found = work.ports.catalogs.collections(digest)
    if schema_digest(found) != backup.schema_digest:
        raise Refused(
            "The backup is of other collections.", code="schema_differs", rule="collections"
        )
    return found


def _made_under(connection: Connection, backup: Backup) -> str | None:
    # A later run may answer for it by now; only the first one's id is in its own.
    run = tables.run
    of_kind = select(run.c.kind).where(run.c.id == backup.run_id).scalar_subquery()
    runs = select(run.c.id).where(run.c.tenant == backup.tenant, run.c.kind == of_kind)
    for run_id in connection.execute(runs).scalars():
        if own_id(run_id) == backup.id:
            plan = connection.execute(select(run.c.plan).where(run.c.id == run_id)).scalar_one()
            return str(plan["catalog"])
    return None


def _told_beside(work: Work, backup: Backup) -> str | None:
    """What the manifest says, where no run of ours is known to have made it: our rows were lost."""
    for one in archives_of(work).manifests():
        if one.backup_id == backup.id and one.manifest is not None:
            return one.manifest.catalog_digest
    return None


def proven_by(connection: Connection, run_id: str, step: str) -> bool:
    """Whether a run has itself restored its backup on trial, in the step of that name."""
    found = backup_of_run(connection, run_id)
    done = tables.run_step
    statement = select(done.c.state).where(done.c.run_id == run_id, done.c.name == step)
    verified = connection.execute(statement).scalar() == "succeeded"
    return verified and found is not None and found.verified_at is not None


def keep(work: Work, backup: Backup) -> None:
    """Write the row of an archive that lies there whole."""
    with _fenced(work) as connection:
        rows.put(connection, _TABLE, backup)
        _leaf(work, connection, "backup.made", (backup.id,), ())


def take_over(work: Work, backup: Backup, keep_until: str) -> None:
    """Let this run answer for an earlier one's backup, which it has yet to prove for itself."""
    if backup.kind is not None:
        archives_of(work).prolong(backup.tenant, backup.id, keep_until)
    with _fenced(work) as connection:
        found = guard(connection, _TABLE.name, backup.id)
        mine = {"run_id": work.run.id, "keep_until": keep_until}
        rows.change(connection, _TABLE, _TABLE.c.id == backup.id, **mine)
        _leaf(work, connection, "backup.taken_over", (backup.id,), (found,))


def mark_verified(work: Work, backup: Backup) -> None:
    """Say that this run has restored the backup on trial, and found in it what it must hold.

    It is the newest of the tenant from here on, even by a clock that was set back meanwhile.
    """
    with _fenced(work) as connection:
        found = guard(connection, _TABLE.name, backup.id)
        newest = select(func.max(_TABLE.c.verified_at)).where(
            _TABLE.c.tenant == backup.tenant, _TABLE.c.id != backup.id
        )
        at = work.ports.clock.now()
        if (last := connection.execute(newest).scalar()) is not None:
            at = max(at, datetime.fromisoformat(last) + timedelta(microseconds=1))
        rows.change(connection, _TABLE, _TABLE.c.id == backup.id, verified_at=instant(at))
        _leaf(work, connection, "backup.verified", (backup.id,), (found,))


def discard(work: Work) -> None:
    """Remove what this run has archived and not proven, if anything."""
    archives_of(work).drop(work.run.tenant, own_id(work.run.id))
    with _fenced(work) as connection:
        made = backup_of_run(connection, work.run.id)
        if made is None or made.removed_at is not None:
            return
        found = guard(connection, _TABLE.name, made.id)
        now = instant(work.ports.clock.now())
        rows.change(connection, _TABLE, _TABLE.c.id == made.id, removed_at=now, verified_at=None)
        _leaf(work, connection, "backup.removed", (made.id,), (found,))


@contextmanager
def _fenced(work: Work) -> Generator[Connection]:
    # The step that writes here is done outside the engine's own transaction, and may be late.
    fence = tables.fence
    statement = select(fence.c.epoch, fence.c.run_id).where(fence.c.tenant == work.run.tenant)
    with work.ports.store.write(work.run.tenant) as connection:
        held = connection.execute(statement).one()
        if (held.epoch, held.run_id) != (work.epoch, work.run.id):
            raise Refused("A later run holds the tenant.", code="fenced", rule="epoch")
        yield connection


def _leaf(
    work: Work,
    connection: Connection,
    kind: str,
    touched: tuple[str, ...],
    found: tuple[Guard, ...],
) -> None:
    payload: dict[str, Json] = {
        "run_id": work.run.id,
        "call_id": work.run.call_id,
        "principal": work.run.principal,
        "actor": work.run.actor,
        "backup_id": touched[0],
        "epoch": work.epoch,
    }
    work.ports.recorder.record(
        connection,
        kind,
        work.run.tenant,
        payload,
        tuple((_TABLE.name, one) for one in touched),
        found,
    )
