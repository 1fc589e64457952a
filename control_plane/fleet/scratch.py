"""A team's tables made in a scratch place, as an archive's migrations left them, and led on. Nobody's tenant is in it.

What only speeds a table up, or holds it to a rule that its own place looks at again, is left out.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from control_plane.databases.migrated import MIGRATED, Migrated, finish, has_migrated, migrated
from control_plane.errors import Failed
from control_plane.fleet.checker import Ready, ready
from control_plane.fleet.migration_file import Dialect, Migration

_DIALECTS: Final[Mapping[str, Dialect]] = {"sqlite": "sqlite", "postgresql": "postgres"}


def lead(
    scratch: Connection,
    migrations: Sequence[Migration],
    declared: AnyCollection[str],
    had: Mapping[str, str],
    now: datetime,
) -> None:
    """Have just those migrations in the scratch place, by name and digest, behind those that it has.

    Raises Failed (`migrations_differ`) where they are not the first of `migrations`, or the place
    has had others; and what their statements raise.
    """
    wanted = migrations[: len(had)]
    if {one.name: one.digest for one in wanted} != dict(had):
        raise Failed("The migrations are not those in force.", code="migrations_differ")
    if not had:
        return
    if not has_migrated(scratch):
        MIGRATED.create(scratch, checkfirst=False)
    known = migrated(scratch)
    for one in ready(wanted, _DIALECTS[scratch.dialect.name], declared):
        if one.migration.number not in known:
            _have(scratch, one, now)


def _have(scratch: Connection, one: Ready, now: datetime) -> None:
    # Nothing but an index stands in no transaction.
    if one.migration.variant(one.dialect).header.transactional:
        for sql in dict.fromkeys(change.statement.sql for change in one.changes):
            # A driver takes a percent sign for a parameter.
            said = sql if one.dialect == "sqlite" else sql.replace("%", "%%")
            scratch.exec_driver_sql(said)
    row = Migrated(
        number=one.migration.number,
        name=one.migration.name,
        digest=one.migration.digest,
        state="done",
        before="",
        after="",
        tables=one.tables,
        restore={},
    )
    finish(scratch, row, now)
