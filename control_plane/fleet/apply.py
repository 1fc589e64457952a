"""One migration applied to one place: once, whole, with its row in the place. Not which tenants get it, nor when.

A transactional one and its row are one transaction. One that stands in none says first that it has
begun and what the place's indexes were; whoever finds it begun goes on, and who fails goes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.databases.altering import Altering, Bounds
from control_plane.databases.fencing import advance
from control_plane.databases.migrated import (
    MIGRATED,
    Migrated,
    begin,
    finish,
    forget,
    has_migrated,
    migrated,
)
from control_plane.errors import Failed, PaybillError, Refused
from control_plane.fleet.changes import Change
from control_plane.fleet.checker import Ready
from control_plane.fleet.concurrent_index import index_definitions, put_back, remake
from control_plane.fleet.grammar import Statement
from control_plane.fleet.shape import shape_digest, standing

_ROWS: Final = frozenset({"insert", "update", "delete"})
_SHAPING: Final = frozenset({"create_table", "add_column"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one migration has come to in one place; `fresh` is False where it stood already."""

    number: int
    before: str
    after: str
    fresh: bool


class StatementFailed(Failed):
    """A statement of a migration failed; `file` and `line` tell which."""

    def __init__(self, error: PaybillError, statement: Statement) -> None:
        super().__init__(str(error), code=error.code, retryable=False)
        self.place = f"{statement.file}:{statement.line}"


@dataclass(frozen=True, slots=True)
class Applying:
    """Who applies: in whose name the place is entered, at which epoch, and what stands declared."""

    tenant: str
    epoch: int
    collections: Sequence[Collection]
    now: datetime


def apply(place: Altering, ready: Ready, by: Applying) -> Receipt:
    """Have the migration in the place; a repetition changes nothing and gives the same.

    Raises NotFound, Unavailable, Unknown; Refused: `fenced`, `migration_edited` (another text of
    it was applied there), `migration_out_of_order`, `schema_drifted` (what stands is not what the
    migration before it left), `schema_differs`; Failed as its statements do (StatementFailed).
    Nothing of it remains then.
    """
    header = ready.migration.variant(ready.dialect).header
    bounds = Bounds(header.lock_timeout_ms, header.statement_timeout_ms)
    if header.transactional:
        return _at_once(place, ready, by, bounds)
    return _beside(place, ready, by, bounds)


def had(known: Mapping[int, Migrated], ready: Ready) -> Receipt | None:
    """What a place that was read says of a migration that it has had; None where it must be asked."""
    found = known.get(ready.migration.number)
    if found is None or (found.state, found.digest) != ("done", ready.migration.digest):
        return None
    return _told(found, fresh=False)


# In one transaction ----------------------------------------------------------------------------


def _at_once(place: Altering, ready: Ready, by: Applying, bounds: Bounds) -> Receipt:
    with place.transaction(bounds) as connection:
        known = _entered(connection, place, by)
        found = _known(known, ready)
        if found is not None and found.state == "done":
            return _told(found, fresh=False)
        place.require_still(connection)
        row = _row(connection, known, ready)
        _carry_out(place, connection, ready, bounds)
        row = replace(row, after=shape_digest(connection, ready.tables))
        finish(connection, row, by.now)
        place.require_closed(connection, by.collections)
    return _told(row, fresh=True)


def _carry_out(place: Altering, connection: Connection, ready: Ready, bounds: Bounds) -> None:
    done: set[int] = set()
    for change in ready.changes:
        statement = change.statement
        # A statement that makes several changes is executed once, with the first.
        if id(statement) not in done:
            done.add(id(statement))
            _execute(place, connection, change, bounds)
        if change.kind in _SHAPING:
            place.guard(connection, [change.table])


def _execute(place: Altering, connection: Connection, change: Change, bounds: Bounds) -> None:
    rows = change.kind in _ROWS
    tables = [one for one in (change.table, change.source) if one] if rows else []
    try:
        with place.all_rows(connection, tables):
            place.execute(connection, change.statement.sql, bounds)
    except PaybillError as error:
        raise StatementFailed(error, change.statement) from error


# Without one -----------------------------------------------------------------------------------


def _beside(place: Altering, ready: Ready, by: Applying, bounds: Bounds) -> Receipt:
    change = ready.changes[0]
    with place.transaction(bounds) as connection:
        known = _entered(connection, place, by)
        found = _known(known, ready)
        if found is not None and found.state == "done":
            return _told(found, fresh=False)
        place.require_still(connection)
        if found is None:
            found = _row(connection, known, ready)
            found = replace(found, restore=index_definitions(connection, found.tables))
            begin(connection, found, by.now)
    try:
        with place.statements(bounds) as session:
            remake(session, change)
    except PaybillError as error:
        _go_back(place, found, bounds)
        raise StatementFailed(error, change.statement) from error
    with place.transaction(bounds) as connection:
        advance(connection, by.tenant, by.epoch)
        row = replace(found, after=shape_digest(connection, ready.tables))
        finish(connection, row, by.now)
        place.require_closed(connection, by.collections)
    return _told(row, fresh=True)


def _go_back(place: Altering, found: Migrated, bounds: Bounds) -> None:
    """The indexes as they were, from what was written down; rows were never touched."""
    with place.statements(bounds) as session:
        put_back(session, found.tables, found.restore)
    with place.transaction(bounds) as connection:
        forget(connection, found.number)


# Both ------------------------------------------------------------------------------------------


def _entered(connection: Connection, place: Altering, by: Applying) -> Mapping[int, Migrated]:
    advance(connection, by.tenant, by.epoch)
    if not has_migrated(connection):
        MIGRATED.create(connection, checkfirst=False)
        place.guard(connection, [MIGRATED.name])
    return migrated(connection)


def _known(known: Mapping[int, Migrated], ready: Ready) -> Migrated | None:
    wanted = ready.migration
    found = known.get(wanted.number)
    if found is not None and found.digest != wanted.digest:
        raise Refused(
            "Another text of this migration was applied there.",
            code="migration_edited",
            rule=wanted.name,
        )
    if found is None and [one.number for one in known.values() if one.state == "done"] != list(
        range(1, wanted.number)
    ):
        raise Refused(
            "The migrations before it are not all applied there, or one after it is.",
            code="migration_out_of_order",
            rule=wanted.name,
        )
    return found


def _row(connection: Connection, known: Mapping[int, Migrated], ready: Ready) -> Migrated:
    before, as_left = standing(connection, known)
    if not as_left:
        raise Refused(
            "The tables are not as the migration before it left them.",
            code="schema_drifted",
            rule=ready.migration.name,
        )
    wanted = ready.migration
    return Migrated(
        number=wanted.number,
        name=wanted.name,
        digest=wanted.digest,
        state="begun",
        before=before,
        after="",
        tables=ready.tables,
        restore={},
    )


def _told(row: Migrated, *, fresh: bool) -> Receipt:
    return Receipt(row.number, row.before, row.after, fresh)
