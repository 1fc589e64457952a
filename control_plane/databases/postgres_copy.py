"""Rows into and out of Postgres as COPY writes them. Not what is copied, nor when.

Between two servers no value is looked at: what one wrote as text, the other reads as the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal
from sqlalchemy import Column, Connection, Dialect, func, select
from sqlalchemy.exc import DataError, DBAPIError

from control_plane.data.moving_parts import Part
from control_plane.data.team_shape import OWNER, decoded
from control_plane.databases.postgres_layout import say

RAW_FORMAT: Final = "postgres copy text"
_OUT: Final[LiteralString] = (
    "COPY (SELECT {columns} FROM {table} WHERE {owner} = {tenant}{more}) TO STDOUT"
)
_SOME: Final[LiteralString] = " AND {key} = ANY({keys}::text[])"
_NAMED: Final[LiteralString] = " AND ({keys}) IN ({values})"
# Row security refuses COPY itself, and is never lifted for it: rows go through a table of the
# transaction's own, and are looked at by every policy as they come out of it.
_INCOMING: Final = "paybill_incoming"
_MADE: Final[LiteralString] = (
    "CREATE TEMPORARY TABLE {incoming} ON COMMIT DROP AS SELECT {columns} FROM {table} WHERE false"
)
_TAKEN: Final[LiteralString] = (
    "INSERT INTO {table} ({columns}) SELECT {columns} FROM pg_temp.{incoming}"
)


def say_plainly(connection: Connection) -> None:
    """Write dates and fractions the one way that every server reads, until the transaction ends."""
    said = {"datestyle": "ISO, YMD", "extra_float_digits": "1"}
    connection.execute(select(*(func.set_config(name, one, True) for name, one in said.items())))


def rows_out(
    connection: Connection, part: Part, tenant: str, keys: Sequence[str] | None = None
) -> Iterator[bytes]:
    """The tenant's rows, or those of the keys, a line each, in no order."""
    more = SQL("") if keys is None else _some(part, keys)
    statement = SQL(_OUT).format(
        columns=_columns(part),
        table=Identifier(part.name),
        owner=Identifier(OWNER),
        tenant=Literal(tenant),
        more=more,
    )
    with _raised(connection), _driver(connection).cursor() as cursor, cursor.copy(statement) as out:
        for line in out:
            yield bytes(line)


def _some(part: Part, keys: Sequence[str]) -> Composable:
    named = [Identifier(one.name) for one in part.keys]
    if not part.is_team:
        return SQL(_SOME).format(key=named[0], keys=Literal(list(keys)))
    if not named:
        return SQL("")
    values = (
        SQL("({})").format(
            SQL(", ").join(Literal(one.value) for one in decoded(part.keys, key, "postgresql"))
        )
        for key in keys
    )
    return SQL(_NAMED).format(keys=SQL(", ").join(named), values=SQL(", ").join(values))


def rows_in(connection: Connection, part: Part, lines: Sequence[bytes]) -> None:
    """Add rows as `rows_out` gave them."""
    with _incoming(connection, part) as incoming:
        for line in lines:
            incoming.write(line)


def typed_in(connection: Connection, part: Part, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows as their columns' types have them. Raises ValueError where a column takes no such value."""
    bound = [(column.name, _bound(column, connection.dialect)) for column in part.columns]
    try:
        with _incoming(connection, part) as incoming:
            for row in rows:
                incoming.write_row([bind(row[name]) for name, bind in bound])
    except DataError as error:
        raise ValueError("a column takes no such value") from error


@contextmanager
def _incoming(connection: Connection, part: Part) -> Generator[psycopg.Copy]:
    names: dict[str, Any] = {
        "incoming": f"{_INCOMING}_{part.name}"[:63],
        "columns": _columns(part),
        "table": part.name,
    }
    say(connection, _MADE, **names)
    statement = SQL("COPY pg_temp.{} FROM STDIN").format(Identifier(names["incoming"]))
    with (
        _raised(connection),
        _driver(connection).cursor() as cursor,
        cursor.copy(statement) as incoming,
    ):
        yield incoming
    say(connection, _TAKEN, **names)
    say(connection, "DROP TABLE pg_temp.{incoming}", incoming=names["incoming"])


def _bound(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any]:
    process = column.type.dialect_impl(dialect).bind_processor(dialect)
    return process or (lambda value: value)


def _columns(part: Part) -> Composed:
    return SQL(", ").join(Identifier(column.name) for column in part.columns)


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver: psycopg.Connection[Any] | None = connection.connection.driver_connection
    assert driver is not None  # an open connection has one
    return driver


@contextmanager
def _raised(connection: Connection) -> Generator[None]:
    """The driver's errors as those that SQLAlchemy raises for any other statement."""
    try:
        yield
    except psycopg.Error as error:
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
