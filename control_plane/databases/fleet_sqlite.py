"""The owner's hand on one SQLite file, for a migration. Not the file's opening."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.data.deadline import statement_deadline
from control_plane.databases.altering import Bounds
from control_plane.databases.capturing import Capturing, being_moved
from control_plane.databases.faults import fault
from control_plane.errors import Failed

_CAPTURING: Final = Capturing("", schema=None, place="main")
"""Of everybody in a file."""


class SqliteAltering:
    """Altering over `opened`, which gives a transaction that waits for its lock that long (ms)."""

    def __init__(self, opened: Callable[[int], AbstractContextManager[Connection]]) -> None:
        self._opened = opened

    @property
    def dialect(self) -> Literal["sqlite"]:
        """SQLite's."""
        return "sqlite"

    @contextmanager
    def transaction(self, bounds: Bounds) -> Generator[Connection]:
        """A transaction that nobody writes beside."""
        with self._opened(bounds.lock_ms) as connection:
            yield connection

    @contextmanager
    def statements(self, bounds: Bounds) -> Generator[Connection]:
        """None: SQLite does all of it in transactions."""
        raise Failed("SQLite has nothing that stands in no transaction.", code="not_transactional")
        yield  # pragma: no cover - a generator needs one

    def require_still(self, connection: Connection) -> None:
        """Raise Unavailable (`database_busy`) while a tenant is moved out of the file."""
        if _CAPTURING.is_left(connection):
            raise being_moved()

    def execute(self, connection: Connection, sql: str, bounds: Bounds) -> None:
        """Execute one statement, which is interrupted past its bound."""
        try:
            with statement_deadline(connection, bounds.statement_ms):
                connection.exec_driver_sql(sql)
        except DBAPIError as error:
            raise fault(error) from error

    @contextmanager
    def all_rows(self, connection: Connection, tables: Sequence[str]) -> Generator[None]:
        """They are seen anyway; those of who has left the file are written past its triggers."""
        with _CAPTURING.passed_by_all(connection):
            yield

    def guard(self, connection: Connection, tables: Sequence[str]) -> None:
        """Nothing: a file has no rights of its own."""

    def require_closed(self, connection: Connection, collections: Sequence[Collection]) -> None:
        """Nothing can stand open."""
