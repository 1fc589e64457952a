"""Reading a database's schema: one short transaction that cannot write. Not what is made of it.

The address holds a password: no error here tells any part of it, nor what the driver says.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Inspector,
    NullPool,
    create_engine,
    inspect,
    make_url,
)
from sqlalchemy.exc import ArgumentError, SAWarning, SQLAlchemyError

from control_plane.data.deadline import statement_deadline
from control_plane.data.pulling.schema import Column, Index, Link, Schema, Table
from control_plane.errors import BadInput, Failed, Unavailable

TABLES_MAX: Final = 256
DEADLINE_MS: Final = 15_000
_CONNECT_S_MAX: Final = 5
_ADDRESS: Final = "the address"
_RULE: Final = "must be postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:////FILE"
_POSTGRES: Final = frozenset({"postgresql", "postgresql+psycopg"})
# What else the driver understands could run a program, read a file of secrets or set our bounds.
_QUERY: Final = frozenset({"host", "port", "sslmode", "sslrootcert", "channel_binding"})
_SPECIAL_INDEX: Final = ("postgresql_where", "postgresql_using", "sqlite_where")
_SYSTEM_SCHEMAS: Final = ("pg_", "information_schema")


def read_schema(
    address: str,
    *,
    schema: str | None = None,
    only: Collection[str] = (),
    deadline_ms: int = DEADLINE_MS,
) -> Schema:
    """The tables of one schema, or of it `only` those named; at most 256.

    Raises BadInput (address, schema, names), Unavailable (`database_unavailable`: no answer, no
    right), Failed (`statement_deadline`).
    """
    engine = _engine(_parsed(address), deadline_ms)
    try:
        with (
            _named_faults(),
            engine.connect() as connection,
            statement_deadline(connection, deadline_ms),
            warnings.catch_warnings(),
        ):
            # A type or an index that is not known is told in the report.
            warnings.simplefilter("ignore", SAWarning)
            return _read(connection, schema, only)
    finally:
        engine.dispose()


def _parsed(address: str) -> URL:
    try:
        url = make_url(address.strip())
    except (ArgumentError, ValueError):
        raise BadInput(_ADDRESS, _RULE) from None
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:" or url.query or url.host:
            raise BadInput(_ADDRESS, _RULE)
        return url
    if url.drivername not in _POSTGRES or not url.database:
        raise BadInput(_ADDRESS, _RULE)
    if set(url.query) - _QUERY:
        raise BadInput(_ADDRESS, f"may set {', '.join(sorted(_QUERY))} and nothing else")
    return url.set(drivername="postgresql+psycopg")


def _engine(url: URL, deadline_ms: int) -> Engine:
    if url.drivername == "sqlite":
        file = Path(str(url.database)).absolute()
        if not file.is_file():
            raise BadInput(_ADDRESS, "must lead to a file that is there")

        def opened() -> sqlite3.Connection:
            return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_CONNECT_S_MAX)

        return create_engine("sqlite://", creator=opened, poolclass=NullPool)
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": str(deadline_ms),
        "lock_timeout": str(deadline_ms),
        "idle_in_transaction_session_timeout": str(deadline_ms),
    }
    return create_engine(
        url,
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
        use_native_hstore=False,
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECT_S_MAX,
            "application_name": "paybill collections pull",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )


@contextmanager
def _named_faults() -> Generator[None]:
    try:
        yield
    except Failed as error:
        message = "Reading the schema took longer than it may: name fewer tables."
        raise Failed(message, code=error.code) from None
    except SQLAlchemyError:
        message = "The database does not answer, does not let us in, or cannot be read."
        raise Unavailable(message, code="database_unavailable") from None


def _read(connection: Connection, schema: str | None, only: Collection[str]) -> Schema:
    inspector = inspect(connection)
    schema = _schema(inspector, schema, connection.dialect.name)
    standing = inspector.get_table_names(schema=schema)
    if not standing:
        raise BadInput("the schema", "must hold a table that this login may see")
    if not set(only) <= set(standing):
        raise BadInput("--only", "must name tables of the schema, as they are written there")
    parts = {} if only else _parts(inspector, schema)
    wanted = sorted(set(only) or set(standing) - parts.keys())
    if len(wanted) > TABLES_MAX:
        raise BadInput("--only", f"is needed: more than {TABLES_MAX} tables")
    left_out = tuple((name, f"a part of {whole}") for name, whole in sorted(parts.items()))
    return Schema(_tables(inspector, schema, wanted), left_out)


def _schema(inspector: Inspector, schema: str | None, dialect: str) -> str | None:
    if schema is None or schema == inspector.default_schema_name:
        return None
    if dialect == "sqlite":
        raise BadInput("--schema", "is for Postgres")
    if schema.startswith(_SYSTEM_SCHEMAS) or not inspector.has_schema(schema):
        raise BadInput("--schema", "must be a schema of the database, and not the system's")
    return schema


def _parts(inspector: Inspector, schema: str | None) -> dict[str, str]:
    """The tables that hold rows of another one and no column of their own, each with that one."""
    options = _by_name(inspector.get_multi_table_options(schema=schema))
    heirs: dict[str, Sequence[str]] = {
        name: found["postgresql_inherits"]
        for name, found in options.items()
        if "postgresql_inherits" in found
    }
    if not heirs:
        return {}
    asked = {*heirs, *(parent for parents in heirs.values() for parent in parents)}
    read = _by_name(inspector.get_multi_columns(schema=schema, filter_names=sorted(asked)))
    names = {table: {one["name"] for one in columns} for table, columns in read.items()}
    return {
        heir: parent
        for heir, parents in heirs.items()
        for parent in parents
        if names.get(heir) == names.get(parent)
    }


def _tables(inspector: Inspector, schema: str | None, names: list[str]) -> tuple[Table, ...]:
    asked: dict[str, Any] = {"schema": schema, "filter_names": names}
    columns = _by_name(inspector.get_multi_columns(**asked))
    keys = _by_name(inspector.get_multi_pk_constraint(**asked))
    links = _by_name(inspector.get_multi_foreign_keys(**asked))
    uniques = _by_name(inspector.get_multi_unique_constraints(**asked))
    indexes = _by_name(inspector.get_multi_indexes(**asked))
    checks = _by_name(inspector.get_multi_check_constraints(**asked))
    comments: Mapping[str, Any] = {}
    if inspector.dialect.supports_comments:
        comments = _by_name(inspector.get_multi_table_comment(**asked))
    return tuple(
        Table(
            name,
            tuple(_column(one) for one in columns[name]),
            tuple(_value(keys, name, "constrained_columns") or ()),
            tuple(_link(one, schema) for one in links.get(name) or ()),
            tuple(tuple(one["column_names"]) for one in uniques.get(name) or ()),
            tuple(_index(one) for one in indexes.get(name) or ()),
            tuple(str(one["sqltext"]) for one in checks.get(name) or ()),
            _value(comments, name, "text") or "",
        )
        for name in names
        if name in columns
    )


def _by_name(found: Mapping[Any, Any]) -> dict[str, Any]:
    # Keys are pairs of schema and table; one schema is asked for.
    return {name: value for (_, name), value in found.items()}


def _value(found: Mapping[str, Any], name: str, key: str) -> Any:
    one: Mapping[str, Any] = found.get(name) or {}
    return one.get(key)


def _column(found: Mapping[str, Any]) -> Column:
    return Column(
        name=str(found["name"]),
        type=found["type"],
        nullable=bool(found["nullable"]),
        default=None if found.get("default") is None else str(found["default"]),
        generated="computed" in found,
        identity="identity" in found,
        comment=found.get("comment") or "",
    )


def _link(found: Mapping[str, Any], schema: str | None) -> Link:
    here = found.get("referred_schema") == schema
    return Link(
        tuple(found["constrained_columns"]),
        str(found["referred_table"]) if here else None,
        tuple(one for one in found["referred_columns"] if one is not None),
    )


def _index(found: Mapping[str, Any]) -> Index:
    names = tuple(name for name in found["column_names"] if name is not None)
    options: dict[str, Any] = found.get("dialect_options") or {}
    whole = len(names) == len(found["column_names"])
    plain = whole and all(options.get(one) is None for one in _SPECIAL_INDEX)
    return Index(names, bool(found["unique"]), plain)
