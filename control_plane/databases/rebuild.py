"""The change of a SQLite schema: tables made anew beside the old ones, filled, put in their place.

Not which tables there should be. SQLite alters neither a type nor a constraint, so a table whose
shape differs is made anew as a whole, and stands afterwards as a fresh one would. Foreign keys must
be off on the connection: a table that goes for a moment is no row that is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, Dialect, Index, MetaData, Table, insert, inspect, select
from sqlalchemy.schema import (
    CheckConstraint,
    Constraint,
    CreateIndex,
    CreateTable,
    DropIndex,
    DropTable,
    ExecutableDDLElement,
)
from sqlalchemy.sql import Executable
from sqlalchemy.util import set_creation_order

from control_plane.databases.ddl import RenameTable
from control_plane.errors import Failed

# No collection's name begins so.
_BESIDE: Final = "paybill_beside_"


def rebuilds(
    source: MetaData, target: MetaData, dialect: Dialect
) -> Iterator[ExecutableDDLElement | Executable]:
    """What makes the tables of `source` those of `target`."""
    for name, table in source.tables.items():
        if name not in target.tables:
            yield DropTable(table)
    for name, table in list(target.tables.items()):
        known = source.tables.get(name)
        if known is None:
            yield CreateTable(table)
            yield from map(CreateIndex, _indexes(table).values())
        elif _shape(known, dialect) != _shape(table, dialect):
            yield from _remade(known, table)
        else:
            yield from _reindexed(known, table)


def rebuild(connection: Connection, source: MetaData, target: MetaData) -> None:
    """Change the tables. Raises Failed (`links_broken`) where a row then refers to none."""
    for statement in rebuilds(source, target, connection.dialect):
        connection.execute(statement)
    if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise Failed("A row refers to a row that is not there.", code="links_broken")


def renew(connection: Connection, target: MetaData) -> None:
    """Drop every table, with all that is in it, and make those of `target`."""
    for name in inspect(connection).get_table_names():
        connection.execute(DropTable(Table(name, MetaData())))
    target.create_all(connection, checkfirst=False)


def _remade(known: Table, table: Table) -> Iterator[ExecutableDDLElement | Executable]:
    beside = table.to_metadata(table.metadata, name=_BESIDE + table.name)
    # A copy has them in no order: told in one, what a plan shows has the same digest each time.
    for constraint in sorted(beside.constraints, key=_told):
        set_creation_order(constraint)
    yield CreateTable(beside)
    columns = [
        column.name
        for column in beside.columns
        if column.name in known.c and column.computed is None
    ]
    rows = select(*(known.c[name] for name in columns))
    yield insert(beside).from_select(columns, rows, include_defaults=False)
    yield DropTable(known)
    yield RenameTable(beside, table.name)
    # A table that is dropped has taken its indexes along.
    yield from map(CreateIndex, _indexes(table).values())


def _told(constraint: Constraint) -> tuple[str, str, list[str]]:
    condition = constraint.sqltext if isinstance(constraint, CheckConstraint) else ""
    columns = [one.name for one in getattr(constraint, "columns", ())]
    return type(constraint).__name__, str(condition), columns


def _reindexed(known: Table, table: Table) -> Iterator[ExecutableDDLElement]:
    old, new = _indexes(known), _indexes(table)
    yield from (DropIndex(index) for name, index in old.items() if name not in new)
    yield from (CreateIndex(index) for name, index in new.items() if name not in old)


def _shape(table: Table, dialect: Dialect) -> str:
    return str(CreateTable(table).compile(dialect=dialect))


def _indexes(table: Table) -> dict[str, Index]:
    return {
        str(index.name): index for index in sorted(table.indexes, key=lambda one: str(one.name))
    }
