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

# Idle connections stay to this many databases at most, and this many to each.
DATABASES_MAX: Final = 16
CONNECTIONS_MAX: Final = 4
_CONNECT_S_MAX: Final = 5
# Without this the driver asks each new database for a type that we do not use.
_OPTIONS: Final = {"use_native_hstore": False, "hide_parameters": True}


class Pools:
    """An engine for each database, the least used given up first; without `kept`, no idle ones."""

    def __init__(self, url: URL, wait_ms_max: int, *, kept: bool) -> None:
        self._url = url
        self._wait_s = wait_ms_max / 1_000
        self._kept = kept
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
        if not self._kept:
            return create_engine(url, poolclass=NullPool, connect_args=driver, **_OPTIONS)
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=self._wait_s,
            connect_args=driver,
            **_OPTIONS,
        )
        event.listen(engine, "checkout", _clean)
        return engine


def _clean(raw: psycopg.Connection[Any], *_: object) -> None:
    """Take from the session all that the last tenant's transaction may have left in it.

    It is also the proof that the server is still there: else the pool opens another connection.
    """
    try:
        raw.autocommit = True
        raw.execute("DISCARD ALL")
        raw.autocommit = False
    except psycopg.Error as error:
        raise DisconnectionError from error
