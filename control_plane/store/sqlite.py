"""The store on one SQLite file: engines, transactions, faults by name. Not the rows' meaning."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from control_plane.errors import Unavailable

_POOL_CONNECTIONS_MAX = 16
_RETRY_INTERVAL_S = 0.01
_PRIMARY_CODE = 0xFF
# What a full disk looks like when it is met while a file is made larger or seen to the disk.
_FULL_EXTENDED = frozenset(
    {sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC}
)
_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
    }
)


class SqliteStore:
    """Transactions over the workspace's store file.

    ``write`` takes the write lock at once, so that what was read in it cannot change under it.
    Errors: Unavailable with code ``store_locked``, ``store_full`` or ``store_unavailable``.
    """

    def __init__(self, path: Path, *, busy_timeout_ms: int = 2000) -> None:
        self.path = path
        # SQLite lets waiting writers sleep and try: of many threads one may never come to it. In
        # one process they wait in line, and only one of them tries.
        self._turn = threading.Lock()
        self._turn_s = busy_timeout_ms / 1000
        self._writer = _engine(path, busy_timeout_ms, begin="BEGIN IMMEDIATE")
        self._reader = _engine(path, busy_timeout_ms, begin="BEGIN")

    @contextmanager
    def write(self, scope: str | None = None) -> Generator[Connection]:
        """A transaction that may write; committed at the end, rolled back on any error.

        One writer at a time whatever the scope: the file has one lock.
        """
        with self._in_turn(), _named_faults(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _in_turn(self) -> Generator[None]:
        if not self._turn.acquire(timeout=self._turn_s):
            raise Unavailable("The store is locked by another writer.", code="store_locked")
        try:
            yield
        finally:
            self._turn.release()

    def append(self) -> AbstractContextManager[Connection]:
        """The same as ``write``: the file has one lock."""
        return self.write()

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that reads one state of the store."""
        with _named_faults(), self._reader.begin() as connection:
            yield connection

    def cut_log(self) -> bool:
        """Bring the write-ahead log home and cut it to nothing; False while a reader holds it.

        What was overwritten stands in it no longer.
        """
        with self._in_turn(), _named_faults(), self._writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection), "the store is a file of SQLite"
            (busy, *_) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()


def _engine(path: Path, busy_timeout_ms: int, *, begin: str) -> Engine:
    engine = create_engine(
        # Not as text: a question mark in a path would begin options.
        URL.create("sqlite", database=str(path)),
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
        _enter_wal(connection, busy_timeout_ms)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _enter_wal(connection: sqlite3.Connection, busy_timeout_ms: int) -> None:
    # Of two processes that turn a new file to WAL, one is refused at once: SQLite does not wait.
    deadline = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_INTERVAL_S)
        else:
            return


@contextmanager
def _named_faults() -> Generator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable("Every connection to the store is taken.", code="store_locked") from error
    except DBAPIError as error:
        fault = _named(error.orig)
        if fault is None:
            raise
        raise fault from error


def _named(original: BaseException | None) -> Unavailable | None:
    if not isinstance(original, sqlite3.Error):
        return None
    extended = getattr(original, "sqlite_errorcode", 0)
    code = extended & _PRIMARY_CODE
    if _is_busy(original):
        return Unavailable("The store is locked by another process.", code="store_locked")
    if code == sqlite3.SQLITE_FULL or extended in _FULL_EXTENDED:
        return Unavailable("The store cannot be written: no room on the disk.", code="store_full")
    if code in _UNUSABLE:
        return Unavailable("The store cannot be opened.", code="store_unavailable")
    return None


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
