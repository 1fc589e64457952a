"""Indexes that are made and dropped while writers go on, in no transaction: again, and back. Postgres alone has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, text

from control_plane.errors import Failed
from control_plane.fleet.changes import Change

# Those that belong to a constraint come and go with it.
_INDEXES: Final = text("""SELECT i.relname, x.indisvalid, pg_catalog.pg_get_indexdef(i.oid)
    FROM pg_catalog.pg_class t
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
        AND n.nspname = pg_catalog.current_schema()
    JOIN pg_catalog.pg_index x ON x.indrelid = t.oid
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    WHERE t.relname = ANY(CAST(:tables AS text[]))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid)
    ORDER BY i.relname""")


def index_definitions(connection: Connection, tables: Sequence[str]) -> dict[str, str]:
    """How each valid index of the tables would be made, by name."""
    return {name: made for name, (valid, made) in _found(connection, tables).items() if valid}


def remake(session: Connection, change: Change) -> None:
    """Make or drop the index; one that a kill has left half made goes first.

    Raises Failed (`index_invalid`) where it is there afterwards, and not to be used.
    """
    known = _found(session, [change.table]) if change.table else _named(session, change.name)
    found = known.get(change.name)
    if change.kind == "drop_index":
        if found is not None:
            _drop(session, change.name)
        return
    if found is not None and found[0]:
        return
    if found is not None:
        _drop(session, change.name)
    session.exec_driver_sql(change.statement.sql.replace("%", "%%"))
    if not _found(session, [change.table])[change.name][0]:
        raise Failed("The index is there, and cannot be used.", code="index_invalid")


def put_back(session: Connection, tables: Sequence[str], restore: Mapping[str, str]) -> None:
    """The indexes of the tables as `index_definitions` told of them; again changes nothing."""
    found = _found(session, tables)
    for name, (valid, made) in found.items():
        if not valid or restore.get(name) != made:
            _drop(session, name)
    for name, made in restore.items():
        if name not in found or not found[name][0] or found[name][1] != made:
            # The server's own text of it, as it told it before.
            session.exec_driver_sql(made.replace("%", "%%"))


def _drop(session: Connection, name: str) -> None:
    statement = SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(Identifier(name))
    session.exec_driver_sql(statement.as_string())


def _found(connection: Connection, tables: Sequence[str]) -> dict[str, tuple[bool, str]]:
    rows = connection.execute(_INDEXES, {"tables": list(tables)})
    return {str(name): (bool(valid), str(made)) for name, valid, made in rows}


_NAMED: Final = text("""SELECT i.relname, x.indisvalid, pg_catalog.pg_get_indexdef(i.oid)
    FROM pg_catalog.pg_class i
    JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
        AND n.nspname = pg_catalog.current_schema()
    JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid
    WHERE i.relname = :name""")


def _named(connection: Connection, name: str) -> dict[str, tuple[bool, str]]:
    rows = connection.execute(_NAMED, {"name": name})
    return {str(one): (bool(valid), str(made)) for one, valid, made in rows}
