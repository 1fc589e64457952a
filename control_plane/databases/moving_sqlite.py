"""A tenant's place in a SQLite file, as one end of a move. Not the engine, nor what is moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Never, TypeAlias

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import StatementError

from control_plane.data.collection import Collection
from control_plane.data.moving_ends import Noted
from control_plane.data.moving_parts import Moved, Part
from control_plane.data.tables import FENCE
from control_plane.data.team_shape import TeamShape
from control_plane.databases.capture_sqlite import add_triggers, drop_triggers, standing_triggers
from control_plane.databases.capturing import Capturing, not_captured
from control_plane.databases.fencing import set_fence
from control_plane.databases.team_catalog import level_of, team_shape
from control_plane.errors import NotFound, Unavailable

# Each waits as long as the engine waits for the lock.
_TRIES_MAX: Final = 20
Opened: TypeAlias = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class SqliteSurvey:
    """A snapshot of a file. It has no raw rows: all values travel typed."""

    connection: Connection
    capturing: Capturing
    raw_format: None = None

    def level(self) -> str:
        """A digest of the migrations that the place has had."""
        return level_of(self.connection)

    def team(self) -> TeamShape:
        """The tables of the team's own, as they stand there."""
        return team_shape(self.connection)

    def noted(self) -> Noted:
        """What the outbox holds. Raises Refused (`not_captured`, `capture_lost`)."""
        standing = standing_triggers(self.connection, self.capturing.tenant)
        return self.capturing.noted(self.connection, len(standing))

    def raw_rows(self, part: Part, keys: Sequence[str] | None = None) -> Iterator[bytes]:
        """None are ever asked for."""
        return _none(part, keys)


@dataclass(frozen=True, slots=True)
class SqliteWriting:
    """A write transaction in a file."""

    connection: Connection
    raw_format: None = None

    def put_rows(self, part: Part, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add typed rows. Raises ValueError where a column takes no such value."""
        try:
            self.connection.execute(insert(part.table), rows)
        except StatementError as error:
            if isinstance(error.orig, ValueError):
                raise error.orig from error
            raise

    def put_raw(self, part: Part, lines: Sequence[bytes]) -> None:
        """None are ever given."""
        _none(part, lines)


class SqliteEnd:
    """MovingEnd over one file: a writer has it to itself, so nobody is ever at work beside one.

    `written` opens a transaction that holds the file's one lock, `read` a snapshot; both raise
    NotFound where there is no file.
    """

    def __init__(self, tenant: str, epoch: int, *, written: Opened, read: Opened) -> None:
        self._tenant = tenant
        self._epoch = epoch
        self._written = written
        self._read = read
        self._capturing = Capturing(tenant, schema=None, place="main")

    def capture(self, collections: Sequence[Collection]) -> None:
        """Note the key of every row that is changed from now on, whoever does."""
        with self._begun() as connection:
            moved = Moved(collections, self._tenant, team_shape(connection))
            before = standing_triggers(connection, self._tenant)
            if not self._capturing.begin(connection, self._epoch, len(before)):
                add_triggers(connection, self._capturing, moved)
                standing = standing_triggers(connection, self._tenant)
                self._capturing.finish(connection, len(standing))

    def release(self) -> None:
        """Note nothing, freeze nothing, and leave nothing of either."""
        with suppress(NotFound), self._begun() as connection:
            self._capturing.held(connection, self._epoch)
            drop_triggers(connection, self._tenant)
            self._capturing.end(connection)

    def freeze(self, patience_ms_max: int) -> None:
        """Close the fence and refuse every change. Raises Unavailable, Refused (`not_captured`).

        A transaction that writes has the file's lock, and nobody can end it from outside.
        """
        ends_at = time.monotonic() + patience_ms_max / 1_000
        # Each round waits as long as the engine waits for the lock, so the patience bounds the loop.
        while not self._froze():
            if time.monotonic() >= ends_at:
                raise Unavailable("The tenant's database is busy.", code="database_busy")

    def thaw(self, *, open: bool) -> None:
        """Let rows be written again, and by our own calls if `open`."""
        with self._begun() as connection:
            if self._capturing.held(connection, self._epoch) is not None:
                self._capturing.set_frozen(connection, is_frozen=False)
            set_fence(connection, self._tenant, self._epoch, is_open=open)

    @contextmanager
    def surveying(self) -> Generator[SqliteSurvey]:
        """One snapshot for as long as the block."""
        with self._read() as connection:
            # The snapshot is of when the first row is read.
            fence = select(FENCE.c.epoch).where(FENCE.c.tenant_id == self._tenant)
            if connection.execute(fence).scalar_one_or_none() is None:
                raise NotFound
            yield SqliteSurvey(connection, self._capturing)

    @contextmanager
    def writing(self) -> Generator[SqliteWriting]:
        """One transaction that commits at the end. Raises Refused (`target_open`)."""
        with (
            self._begun() as connection,
            self._capturing.passed(connection, self._epoch),
        ):
            # A team's references are looked at each statement otherwise.
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            yield SqliteWriting(connection)

    def strike(self, entries: Sequence[int]) -> None:
        """Take exactly these entries from the outbox."""
        with self._begun() as connection:
            self._capturing.strike(connection, self._epoch, entries)

    @contextmanager
    def _begun(self) -> Generator[Connection]:
        """A transaction, once it is had: SQLite lets who asks for the lock most often have it."""
        with ExitStack() as held:
            yield self._lock(held)

    def _lock(self, held: ExitStack) -> Connection:
        for tries_left in reversed(range(_TRIES_MAX)):
            try:
                return held.enter_context(self._written())
            except Unavailable as error:
                if error.code != "database_busy" or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _froze(self) -> bool:
        try:
            with self._written() as connection:
                known = self._capturing.held(connection, self._epoch)
                if known is None or not known.triggers:
                    raise not_captured()
                self._capturing.set_frozen(connection, is_frozen=True)
                set_fence(connection, self._tenant, self._epoch, is_open=False)
        except Unavailable as error:
            if error.code != "database_busy":
                raise
            return False
        return True


def _none(part: Part, _: object) -> Never:
    raise TypeError(f"rows of {part.name} travel typed")
