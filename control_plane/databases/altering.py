"""The owner's hand on the tables of one place, for a migration that a team has written. Not the migration."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import Connection

from control_plane.data.collection import Collection


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long one statement may wait for a lock, and how long it may run at all."""

    lock_ms: int
    statement_ms: int


class Altering(Protocol):
    """One place, while nobody else changes its tables.

    Every method may raise Unavailable (`database_busy`, …), Failed (`statement_deadline`,
    `statement_failed`, `disk_full`) and Refused (`constraint`), never with a word of the engine's.
    """

    @property
    def dialect(self) -> Literal["postgres", "sqlite"]:
        """Whose text of a migration is meant."""
        ...

    def transaction(self, bounds: Bounds) -> AbstractContextManager[Connection]:
        """A transaction of the owner's in the place: whole or not at all. Raises NotFound, Unknown."""
        ...

    def statements(self, bounds: Bounds) -> AbstractContextManager[Connection]:
        """A session in the place without a transaction. Raises Failed where the engine has none."""
        ...

    def require_still(self, connection: Connection) -> None:
        """Raise Unavailable (`database_busy`) while a tenant is moved out of the place.

        Once it has left, it holds nobody up.
        """
        ...

    def execute(self, connection: Connection, sql: str, bounds: Bounds) -> None:
        """Execute one statement of a migration in a transaction of this place."""
        ...

    def all_rows(
        self, connection: Connection, tables: Sequence[str]
    ) -> AbstractContextManager[None]:
        """Inside, statements see the tables' rows of every tenant that shares them, and may change them.

        Those of one that has left the place too, which are closed to everybody else.
        """
        ...

    def guard(self, connection: Connection, tables: Sequence[str]) -> None:
        """See that tables which were made or widened are closed to other tenants, as ours are."""
        ...

    def require_closed(self, connection: Connection, collections: Sequence[Collection]) -> None:
        """Raise Refused (`schema_differs`; `rule`) where rows lie open to another tenant."""
        ...
