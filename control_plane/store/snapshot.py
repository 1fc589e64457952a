"""One state of the store, held open for many reads. Writes nothing, and is no copy."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

from sqlalchemy import Connection

from control_plane.errors import Unavailable
from control_plane.ports import Store


class Snapshot:
    """A store whose every read sees what the first one saw."""

    def __init__(self, connection: Connection) -> None:
        """`connection` is in a transaction that reads; who opened it ends it."""
        self.connection = connection

    @contextmanager
    def read(self) -> Generator[Connection]:
        """The one transaction."""
        yield self.connection

    def write(self, scope: str | None = None) -> NoReturn:
        """Refused: a snapshot is for reading."""
        raise Unavailable("A snapshot of the store cannot be written.", code="store_snapshot")

    def append(self) -> NoReturn:
        """Refused: a snapshot is for reading."""
        self.write()

    def close(self) -> None:
        """Nothing: who opened the transaction ends it."""


@contextmanager
def snapshot(store: Store) -> Generator[Snapshot]:
    """Hold one state of a store."""
    with store.read() as connection:
        yield Snapshot(connection)
