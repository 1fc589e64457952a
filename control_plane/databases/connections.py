"""Connections to one SQLite file, with what must hold on each. Not the files themselves."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from control_plane.data.tables import REFERENCE_SCHEMA

READING: Final = "paybill_reading"
REBUILDING: Final = "paybill_rebuilding"
# Such a file is only ever replaced, so SQLite need neither lock nor watch it.
_NEVER_WRITTEN: Final = "mode=ro&immutable=1"


def open_engine(path: Path, busy_timeout_ms: int, reference: Path) -> Engine:
    """An engine on a file that must be there; with the execution option READING it cannot write,
    with REBUILDING tables may go for a moment though rows refer to them.

    Where there is a file of reference rows, it is the schema `reference`, which none of its
    connections can write. It keeps no connection: a file may be dropped and made anew under the
    same name.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            # SQLite must not make an empty database where there is none.
            _uri(path, "mode=rw"),
            uri=True,
            timeout=busy_timeout_ms / 1_000,
            isolation_level=None,
            check_same_thread=False,
        )
        _prepare(connection, reference)
        return connection

    # Values stay out of the engine's errors, and so out of any log of them.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def open_reference(path: Path, *, filling: bool) -> Engine:
    """An engine on a file of reference rows alone: to read it, or to fill one nobody reads yet.

    It leaves no file beside it. The rows lie in no schema here: they do where it is attached.
    """
    options = "mode=rw" if filling else _NEVER_WRITTEN
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(_uri(path, options), uri=True, isolation_level=None),
        poolclass=NullPool,
        hide_parameters=True,
        execution_options={"schema_translate_map": {REFERENCE_SCHEMA: None}},
    )
    event.listen(engine, "begin", _begin_one_state)
    return engine


def _begin_one_state(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _uri(path: Path, options: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{options}"


def _prepare(connection: sqlite3.Connection, reference: Path) -> None:
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        _attach(connection, reference)
        # From here on no statement can bring in another file.
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
    except sqlite3.Error:
        connection.close()
        raise


def _attach(connection: sqlite3.Connection, reference: Path) -> None:
    if not reference.exists():
        return
    uri = _uri(reference, _NEVER_WRITTEN)
    connection.execute("ATTACH DATABASE ? AS reference", (uri,))


def _begin(connection: Connection) -> None:
    # Deferred locks would let two writers read first and then fail one of them.
    options = connection.get_execution_options()
    if options.get(READING, False):
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.exec_driver_sql("BEGIN")
        return
    if options.get(REBUILDING, False):
        # Inside of a transaction it could not be said any more.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
