"""Which catalog is in force, as the store says it, and who waits while another is put in its place. Not the catalog."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, insert, select, update

from control_plane.audit.guarded import APPLIED, CATALOG_TABLE
from control_plane.audit.recorder import CATALOG_SETTING, guard
from control_plane.errors import Failed, Refused
from control_plane.ports import Recorder
from control_plane.store import tables

KIND: Final = "apply_catalog"
# The one before, for as long as some tenant's database may still serve it too.
BEFORE_SETTING: Final = "catalog.before"
# A run in one of these has begun, and may be changing something.
AT_WORK: Final = ("applying", "verifying", "unknown", "reconciling", "errored", "compensating")

_GUARDS: Final = (
    (tables.setting.name, CATALOG_SETTING),
    (tables.setting.name, BEFORE_SETTING),
    (CATALOG_TABLE, APPLIED),
)


class CatalogMoved(Failed):
    """Another catalog was put in force meanwhile; nothing was done."""

    code = "catalog_moved"

    def __init__(self) -> None:
        super().__init__(retryable=True)


class WorkerLeaves(Failed):
    """This worker ends while the run waits for something; the next one takes it up."""

    code = "worker_leaves"

    def __init__(self) -> None:
        super().__init__(retryable=True)


def applied_digest(connection: Connection) -> str | None:
    """The digest of the catalog in force, or None."""
    return _text(connection, CATALOG_SETTING)


def digest_before(connection: Connection) -> str | None:
    """The digest of the one before, while databases may still serve it; None when none does."""
    return _text(connection, BEFORE_SETTING) or None


def require_in_force(connection: Connection, digest: str) -> None:
    """Raise CatalogMoved where another catalog is in force than the one that was decided by."""
    if applied_digest(connection) != digest:
        raise CatalogMoved


def require_whole(connection: Connection) -> None:
    """Raise Refused (`catalog_half_applied`) where databases may still serve the one before."""
    if digest_before(connection) is not None:
        raise Refused(
            "Databases still serve the catalog before the one in force: apply that one again first.",
            code="catalog_half_applied",
            fact="catalog",
        )


def put_in_force(
    connection: Connection, recorder: Recorder, digest: str, before: str, now: str
) -> None:
    """Say which catalog holds from this transaction on, with a leaf; ``now`` is an instant.

    An empty ``before`` says that no database serves another one.
    """
    found = tuple(guard(connection, *one) for one in _GUARDS)
    _set(connection, CATALOG_SETTING, digest, now)
    _set(connection, BEFORE_SETTING, before, now)
    told = {"digest": digest, "before": before}
    recorder.record(connection, "catalog.applied", "", told, _GUARDS, found)


def leave_before(connection: Connection, recorder: Recorder, now: str) -> None:
    """Say that every database serves the catalog in force alone, with a leaf."""
    named = ((tables.setting.name, BEFORE_SETTING),)
    found = tuple(guard(connection, *one) for one in named)
    told = {"digest": applied_digest(connection), "before": digest_before(connection)}
    _set(connection, BEFORE_SETTING, "", now)
    recorder.record(connection, "catalog.contracted", "", told, named, found)


def waits_for_catalog(connection: Connection, run_id: str) -> bool:
    """Whether a run must not begin now: another one is putting a catalog in force."""
    run = tables.run
    others = (run.c.kind == KIND) & run.c.state.in_(AT_WORK) & (run.c.id != run_id)
    commands = connection.execute(select(run.c.command).where(others)).scalars().all()
    if not commands:
        return False
    applied = applied_digest(connection)
    return any(command.get("catalog") != applied for command in commands)


def others_at_work(connection: Connection, run_id: str) -> int:
    """How many other runs have begun and are not over."""
    run = tables.run
    others = run.c.state.in_(AT_WORK) & (run.c.id != run_id)
    return len(connection.execute(select(run.c.id).where(others)).all())


def _text(connection: Connection, name: str) -> str | None:
    table = tables.setting
    found = connection.execute(select(table.c.value).where(table.c.name == name)).scalar()
    return found if isinstance(found, str) else None


def _set(connection: Connection, name: str, value: str, now: str) -> None:
    table = tables.setting
    values = {"value": value, "updated_at": now}
    changed = connection.execute(update(table).where(table.c.name == name).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(table).values(name=name, **values))
