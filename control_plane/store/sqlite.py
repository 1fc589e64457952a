"""The store on one SQLite file: engines, transactions, faults by name. Not the rows' meaning."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from control_plane.errors import Unavailable

_POOL_CONNECTIONS_MAX = 16


class SqliteStore:
    """Transactions over the workspace's store file.

    ``write`` takes the write lock at once, so that what was read in it cannot change under it.
    Errors: Unavailable with code ``store_locked``, ``store_full`` or ``store_unavailable``.
    """

    def __init__(self, path: Path, *, busy_timeout_ms: int = 2000) -> None:
        self.path = path
        self._writer = _engine(path, busy_timeout_ms, begin="BEGIN IMMEDIATE")
        self._reader = _engine(path, busy_timeout_ms, begin="BEGIN")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; committed at the end, rolled back on any error."""
        with _named_faults(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads one state of the store."""
        with _named_faults(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()


def _engine(path: Path, busy_timeout_ms: int, *, begin: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=_POOL_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=max(1.0, busy_timeout_ms / 1000),
        connect_args={"timeout": busy_timeout_ms / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction control is off: it would begin late, after the first read.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        fault = _named(error.orig)
        if fault is None:
            raise
        raise fault from error


def _named(original: BaseException | None) -> Unavailable | None:
    if not isinstance(original, sqlite3.Error):
        return None
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable("The store is locked by another process.", code="store_locked")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return Unavailable("The store cannot be written: no room on the disk.", code="store_full")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT):
        return Unavailable("The store cannot be opened.", code="store_unavailable")
    return None
