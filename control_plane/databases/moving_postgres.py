"""A tenant's place on Postgres, as one end of a move. Not the engine, nor what is moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.data.moving_ends import Noted
from control_plane.data.moving_parts import Moved, Part
from control_plane.data.team_shape import TeamShape
from control_plane.databases.capturing import Capturing, not_captured
from control_plane.databases.fencing import set_fence
from control_plane.databases.postgres_capture import (
    add_triggers,
    count_triggers,
    drop_functions,
    drop_triggers,
    make_functions,
    standing_triggers,
)
from control_plane.databases.postgres_copy import (
    RAW_FORMAT,
    rows_in,
    rows_out,
    say_plainly,
    typed_in,
)
from control_plane.databases.postgres_faults import NOT_ADMITTED, sqlstate
from control_plane.databases.postgres_guard import GUARD
from control_plane.databases.postgres_layout import say
from control_plane.databases.postgres_names import Place, lock_key
from control_plane.databases.postgres_sessions import Login
from control_plane.databases.team_catalog import level_of, team_shape
from control_plane.errors import NotFound, Unavailable

# While one waits for a table, everybody else who comes waits behind it.
_TABLE_WAIT_MS: Final = 250
_TABLE_PAUSE_S: Final = 0.1
_TABLE_TRIES_MAX: Final = 120
# How long one snapshot may be read, and how long its session may be idle while rows are put elsewhere.
_SURVEY_MS_MAX: Final = 6 * 3_600_000
_SURVEY_IDLE_MS_MAX: Final = 600_000
_ENDING_ROUNDS_MAX: Final = 5
_ENDED_MS_MAX: Final = 2_000
# Who holds the lock of the tenant's writers, and has for longer than the patience.
_HOLDERS: Final = text("""SELECT l.pid, a.usename FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = current_database()
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
    AND (l.classid::bigint << 32 | l.objid::bigint) = :lock""")
_LASTING: Final = text("""SELECT pg_terminate_backend(a.pid, :ended)
    FROM pg_catalog.pg_stat_activity a WHERE a.pid = :pid
    AND coalesce(a.xact_start < clock_timestamp() - make_interval(secs => :patience), true)""")
Still: TypeAlias = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class PostgresSurvey:
    """A snapshot of a database."""

    connection: Connection
    capturing: Capturing
    place: Place
    raw_format: str = RAW_FORMAT

    def level(self) -> str:
        """A digest of the migrations that the place has had."""
        return level_of(self.connection)

    def team(self) -> TeamShape:
        """The tables of the team's own, as they stand there."""
        return team_shape(self.connection)

    def noted(self) -> Noted:
        """What the outbox holds. Raises Refused (`not_captured`, `capture_lost`)."""
        return self.capturing.noted(self.connection, count_triggers(self.connection, self.place))

    def raw_rows(self, part: Part, keys: Sequence[str] | None = None) -> Iterator[bytes]:
        """The tenant's rows, or those of the keys, each as one line, in no order."""
        return rows_out(self.connection, part, self.capturing.tenant, keys)


@dataclass(frozen=True, slots=True)
class PostgresWriting:
    """A write transaction of the owner's."""

    connection: Connection
    raw_format: str = RAW_FORMAT

    def put_rows(self, part: Part, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add typed rows. Raises ValueError where a column takes no such value."""
        typed_in(self.connection, part, rows)

    def put_raw(self, part: Part, lines: Sequence[bytes]) -> None:
        """Add rows as `raw_rows` gave them."""
        rows_in(self.connection, part, lines)


class PostgresEnd:
    """MovingEnd over one tenant's place, for the owner's login.

    While `still` is open, nobody alters the place's tables.
    """

    def __init__(self, place: Place, epoch: int, owner: Login, still: Still = nullcontext) -> None:
        self._place = place
        self._still = still
        self._epoch = epoch
        self._owner = owner
        self._capturing = Capturing(place.tenant, schema=GUARD, place=place.schema)

    def capture(self, collections: Sequence[Collection]) -> None:
        """Note the key of every row that is changed from now on, whoever does.

        A table is locked for a moment, one after the other, once those who write it are done.
        """
        with self._still(), self._changing() as connection:
            before = count_triggers(connection, self._place)
            if self._capturing.begin(connection, self._epoch, before):
                return
            # From here on no migration changes the place's tables.
            moved = Moved(collections, self._place.tenant, team_shape(connection))
            make_functions(connection, moved.parts.values())
        for part in moved.parts.values():
            self._patiently(partial(add_triggers, place=self._place, part=part))
        with self._changing() as connection:
            self._capturing.held(connection, self._epoch)
            self._capturing.finish(connection, count_triggers(connection, self._place))

    def release(self) -> None:
        """Note nothing, freeze nothing, and leave nothing of either."""
        with suppress(NotFound):
            with self._owner.transaction(self._place) as connection:
                self._capturing.held(connection, self._epoch)
                captured = sorted(standing_triggers(connection, self._place))
            for name in captured:
                self._patiently(partial(drop_triggers, place=self._place, name=name))
            with self._changing() as connection:
                if self._capturing.end(connection):
                    drop_functions(connection)

    def freeze(self, patience_ms_max: int) -> None:
        """Close the fence and refuse every change. Raises Unavailable, Refused (`not_captured`).

        Whose transaction goes on for longer than the patience loses its session.
        """
        waits_ms = patience_ms_max
        for _ in range(_ENDING_ROUNDS_MAX):
            try:
                self._freeze(max(1, waits_ms))
            except Unavailable as error:
                if error.code != "database_busy":
                    raise
                self._end_writers(patience_ms_max)
                waits_ms = _ENDED_MS_MAX
            else:
                return
        raise Unavailable("The tenant's database is busy.", code="database_busy")

    def thaw(self, *, open: bool) -> None:
        """Let rows be written again, and by our own calls if `open`."""
        with self._owner.transaction(self._place) as connection:
            self._hold_alone(connection)
            if self._capturing.held(connection, self._epoch) is not None:
                self._capturing.set_frozen(connection, is_frozen=False)
            set_fence(connection, self._place.tenant, self._epoch, is_open=open)

    @contextmanager
    def surveying(self) -> Generator[PostgresSurvey]:
        """One snapshot for as long as the block."""
        with self._owner.reading(self._place) as connection:
            _set(
                connection,
                statement_timeout=_SURVEY_MS_MAX,
                idle_in_transaction_session_timeout=_SURVEY_IDLE_MS_MAX,
            )
            say_plainly(connection)
            yield PostgresSurvey(connection, self._capturing, self._place)

    @contextmanager
    def writing(self) -> Generator[PostgresWriting]:
        """One transaction that commits at the end. Raises Refused (`target_open`)."""
        with self._owner.transaction(self._place) as connection:
            # Nobody else may write in the moment in which it is not frozen.
            self._hold_alone(connection)
            say_plainly(connection)
            # A team's references are looked at each statement otherwise.
            connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))
            with self._capturing.passed(connection, self._epoch):
                yield PostgresWriting(connection)

    def strike(self, entries: Sequence[int]) -> None:
        """Take exactly these entries from the outbox."""
        with self._owner.transaction(self._place) as connection:
            self._capturing.strike(connection, self._epoch, entries)

    @contextmanager
    def _changing(self) -> Generator[Connection]:
        """What comes and goes with the first and the last tenant that is moved from here."""
        with self._owner.transaction(self._place) as connection:
            lock = lock_key(self._place.database, "capture")
            connection.execute(select(func.pg_advisory_xact_lock(lock)))
            yield connection

    def _patiently(self, change: Callable[[Connection], object]) -> None:
        """Change a table once nobody writes it, without keeping others from it for long."""
        for _ in range(_TABLE_TRIES_MAX):
            try:
                with self._owner.transaction(self._place) as connection:
                    _set(connection, lock_timeout=_TABLE_WAIT_MS)
                    change(connection)
            except Unavailable as error:
                if error.code != "database_busy":
                    raise
                time.sleep(_TABLE_PAUSE_S)
            else:
                return
        raise Unavailable("The tenant's database is busy.", code="database_busy")

    def _freeze(self, wait_ms_max: int) -> None:
        with self._owner.transaction(self._place) as connection:
            _set(connection, lock_timeout=wait_ms_max)
            self._hold_alone(connection)
            known = self._capturing.held(connection, self._epoch)
            if known is None or not known.triggers:
                raise not_captured()
            self._capturing.set_frozen(connection, is_frozen=True)
            set_fence(connection, self._place.tenant, self._epoch, is_open=False)

    def _end_writers(self, patience_ms: int) -> None:
        with self._owner.statements(self._place.database) as connection:
            holders = connection.execute(_HOLDERS, {"lock": self._place.lock}).all()
            for pid, login in holders:
                if pid is None or not _reach(connection, login):
                    continue
                given: dict[str, Any] = {
                    "pid": pid,
                    "ended": _ENDED_MS_MAX,
                    "patience": patience_ms / 1_000,
                }
                connection.execute(_LASTING, given)

    def _hold_alone(self, connection: Connection) -> None:
        connection.execute(select(func.pg_advisory_xact_lock(self._place.lock)))


def _reach(connection: Connection, login: str) -> bool:
    """Whether the owner may end the login's sessions; a login of its own making it then may."""
    if connection.execute(select(func.pg_has_role(login, "USAGE"))).scalar_one():
        return True
    try:
        say(connection, "GRANT {login} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE", login=login)
    except DBAPIError as error:
        if sqlstate(error) != NOT_ADMITTED:
            raise
        return False
    return True


def _set(connection: Connection, **settings: int) -> None:
    # For the transaction only, as bound parameters: SET takes none.
    held = [func.set_config(name, str(value), True) for name, value in settings.items()]
    connection.execute(select(*held))
