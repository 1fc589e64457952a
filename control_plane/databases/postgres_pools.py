"""A login's few connections to each database of a Postgres server. Not what is done on them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import psycopg
from sqlalchemy import URL, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.databases.postgres_rights import require_bound

# Idle connections stay to this many databases at most, and this many to each.
DATABASES_MAX: Final = 16
CONNECTIONS_MAX: Final = 4
_CONNECT_S_MAX: Final = 5
# Without this the driver asks each new database for a type that we do not use.
_OPTIONS: Final = {"use_native_hstore": False, "hide_parameters": True}


class Pools:
    """A login's engine for each database, the least used given up first.

    A face's, which `takes_role`s, keeps its connections; an owner's keeps none.
    """

    def __init__(self, url: URL, wait_ms_max: int, *, takes_role: bool) -> None:
        self._url = url
        self._wait_s = wait_ms_max / 1_000
        self._takes_role = takes_role
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def engine(self, database: str) -> Generator[Engine]:
        """The database's engine, which stays open for the block."""
        with self._lock:
            engine = self._engines.pop(database, None) or self._open(database)
            self._engines[database] = engine  # the last one is the one used last
            self._users[database] += 1
            over = self._over()
        for other in over:
            other.dispose()
        try:
            yield engine
        finally:
            with self._lock:
                self._users[database] -= 1

    def forget(self, database: str) -> None:
        """Close the idle connections to a database that is not there any more."""
        with self._lock:
            engine = self._engines.pop(database, None)
        if engine is not None:
            engine.dispose()

    def close(self) -> None:
        """Close every idle connection; another use opens new ones."""
        for database in list(self._engines):
            self.forget(database)

    def _over(self) -> list[Engine]:
        idle = [name for name in self._engines if not self._users[name]]
        count = max(0, len(self._engines) - DATABASES_MAX)
        return [self._engines.pop(name) for name in idle[:count]]

    def _open(self, database: str) -> Engine:
        url = self._url.set(database=database)
        # A prepared statement does not outlive the cleaning of its session.
        driver: dict[str, Any] = {"connect_timeout": _CONNECT_S_MAX, "prepare_threshold": None}
        pool: dict[str, Any] = {"poolclass": NullPool}
        if self._takes_role:
            pool = {
                "poolclass": QueuePool,
                "pool_size": CONNECTIONS_MAX,
                "max_overflow": 0,
                "pool_timeout": self._wait_s,
            }
        engine = create_engine(url, connect_args=driver, **pool, **_OPTIONS)
        event.listen(engine, "connect", self._admit)
        if self._takes_role:
            event.listen(engine, "checkin", _give_back)
            event.listen(engine, "checkout", _take)
        return engine

    def _admit(self, raw: psycopg.Connection[Any], _record: object) -> None:
        try:
            require_bound(raw, takes_role=self._takes_role)
        except BaseException:
            raw.close()
            raise


def _give_back(raw: psycopg.Connection[Any] | None, record: ConnectionPoolEntry) -> None:
    """Leave nothing of the tenant's transaction for as long as the session is idle."""
    if raw is None:  # it broke in use, and is gone already
        return
    try:
        _clean(raw)
    except psycopg.Error as error:
        record.invalidate(error)


def _take(raw: psycopg.Connection[Any], *_: object) -> None:
    # It is also the proof that the server is still there: else the pool opens another connection.
    try:
        _clean(raw)
    except psycopg.Error as error:
        raise DisconnectionError from error


def _clean(raw: psycopg.Connection[Any]) -> None:
    """Take from the session all that a tenant's transaction may have left in it."""
    raw.autocommit = True
    raw.execute("DISCARD ALL")
    raw.autocommit = False
