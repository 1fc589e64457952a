"""The statements of a change as text, for people to read in a plan. Nothing is executed from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import CompilerElement

from control_plane.data.collection import Collection
from control_plane.databases.alterations import alterations, check_name
from control_plane.databases.migration import Migration, MigrationPhase
from control_plane.databases.rebuild import rebuilds

DialectName: TypeAlias = Literal["sqlite", "postgresql"]


def ddl_preview(
    before: Sequence[Collection],
    after: Sequence[Collection],
    phase: MigrationPhase,
    dialect: DialectName,
) -> list[str]:
    """What a tenant's database is told in the phase, statement by statement.

    Row security, rights and the checks of rows are not told: every table has them. Raises Refused
    (`evolution_refused`).
    """
    migration = Migration(before, after, phase)
    source, target = migration.source(), migration.target()
    if dialect == "sqlite":
        lite = SQLiteDialect_pysqlite()
        return [_text(one, lite) for one in rebuilds(source, target, lite)]
    postgres = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    return [_text(one, postgres) for one in alterations(source, target, postgres, _predicted)]


def _predicted(table: Table) -> dict[str, str]:
    return {name: check_name(table, name) for name in table.c.keys()}  # noqa: SIM118 - by name


def _text(statement: Executable | CompilerElement, dialect: Dialect) -> str:
    assert isinstance(statement, CompilerElement)  # every statement here has a text
    return " ".join(str(statement.compile(dialect=dialect)).split())
