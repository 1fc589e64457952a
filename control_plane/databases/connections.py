"""Connections to one SQLite file, with what must hold on each. Not the files themselves."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

READING: Final = "paybill_reading"


def open_engine(path: Path, busy_timeout_ms: int) -> Engine:
    """An engine on a file that must be there; with the execution option READING it cannot write.

    It keeps no connection: a file may be dropped and made anew under the same name.
    """

    def connect() -> sqlite3.Connection:
        # mode=rw: SQLite must not make an empty database where there is none.
        uri = f"file:{quote(str(path.absolute()))}?mode=rw"
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=busy_timeout_ms / 1_000,
            isolation_level=None,
            check_same_thread=False,
        )
        _prepare(connection)
        return connection

    # Values stay out of the engine's errors, and so out of any log of them.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection) -> None:
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
    except sqlite3.Error:
        connection.close()
        raise


def _begin(connection: Connection) -> None:
    # Deferred locks would let two writers read first and then fail one of them.
    if connection.get_execution_options().get(READING, False):
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
