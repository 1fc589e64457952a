"""The store on a Postgres schema: connections, transactions, locks, faults by name. Not the rows' meaning."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import psycopg
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Engine,
    Select,
    create_engine,
    func,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from control_plane.errors import PaybillError, Unavailable, Unknown

SCHEMA: Final = "paybill"
"""Where the store's tables lie in its database."""

_CONNECTIONS_KEPT = 4
_CONNECTIONS_MAX = 16
_CONNECT_S = 5
_RECYCLE_S = 1800
# A peer that is gone without a word is noticed after about a minute, whatever the operating system
# would wait for.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# Lock timeout, serialisation failure, deadlock: the same transaction may well go through later.
_LOCKED = frozenset({"55P03", "40001", "40P01"})
_FULL = frozenset({"53100"})
# Connection, authorisation, missing database or schema, resources, intervention, broken files.
_UNUSABLE_CLASSES = frozenset({"08", "28", "3D", "3F", "53", "57", "58", "F0", "XX"})
# Missing right or table; a server that only reads; a transaction that stood idle for too long.
_UNUSABLE = frozenset({"42501", "42P01", "25006", "25P03"})


class PostgresStore:
    """Transactions over one schema of a Postgres database, for many processes and machines.

    ``write`` takes its locks before it reads anything, so what is read within its scope cannot
    change under it. A writer of the whole store excludes every other; writers of two scopes do not
    wait for each other; ``append`` waits for none. See docs/adr/0007.

    No statement waits longer than `lock_ms_max` for a lock or takes longer than `statement_ms_max`;
    a transaction that stands idle for `idle_ms_max` is ended by the server. At most 16 connections
    read and 16 write. Errors: Unavailable with code ``store_locked``, ``store_full`` or
    ``store_unavailable``; Unknown (``commit_unknown``) when the connection broke at the commit.
    """

    def __init__(
        self,
        url: URL,
        *,
        schema: str = SCHEMA,
        lock_ms_max: int = 2000,
        statement_ms_max: int = 30_000,
        idle_ms_max: int = 60_000,
    ) -> None:
        self.schema = schema
        settings = {
            "search_path": schema,
            "lock_timeout": str(lock_ms_max),
            "statement_timeout": str(statement_ms_max),
            "idle_in_transaction_session_timeout": str(idle_ms_max),
            # A change is answered when it is durable, whatever the server does for others.
            "synchronous_commit": "on",
            "timezone": "UTC",
        }
        wait_s = max(1.0, lock_ms_max / 1000)
        self._writer = _engine(url, settings, wait_s)
        self._reader = _engine(url, settings, wait_s).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def write(self, scope: str | None = None) -> Generator[Connection]:
        """A transaction that may write; committed at the end, rolled back on any error."""
        lost = Unknown("It is not known whether the change was kept.", code="commit_unknown")
        with self._changing(lost) as connection:
            connection.execute(self._locks(scope))
            yield connection

    @contextmanager
    def append(self) -> Generator[Connection]:
        """A transaction that only adds rows which stand for themselves; it takes no lock."""
        # Whether such rows stand or not changes nothing for whoever asks again.
        with self._changing(_unusable(None)) as connection:
            yield connection

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that reads one state of the store, and cannot write."""
        with _named_faults(), self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._writer.dispose()
        self._reader.dispose()

    @contextmanager
    def _changing(self, lost: PaybillError) -> Generator[Connection]:
        with _named_faults(), self._writer.connect() as connection:
            yield connection
            try:
                connection.commit()
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise lost from None
                raise

    def _locks(self, scope: str | None) -> Select[*tuple[Any, ...]]:
        whole = _key(self.schema, "whole")
        if scope is None:
            return select(func.pg_advisory_xact_lock(whole))
        # One round trip for both. Their order does not matter: who holds the whole store wants no
        # scope, so no circle can close.
        return select(
            func.pg_advisory_xact_lock_shared(whole),
            func.pg_advisory_xact_lock(_key(self.schema, f"scope\0{scope}")),
        )


def _engine(url: URL, settings: dict[str, str], wait_s: float) -> Engine:
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=_CONNECTIONS_KEPT,
        max_overflow=_CONNECTIONS_MAX - _CONNECTIONS_KEPT,
        pool_timeout=wait_s,
        # A server that was restarted must not fail the first calls after it.
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_S,
        isolation_level="READ COMMITTED",
        # Rows hold what agents wrote: no error may carry it into a log.
        hide_parameters=True,
        connect_args={
            **_KEEPALIVE,
            "connect_timeout": _CONNECT_S,
            "application_name": "paybill",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )


def _key(schema: str, what: str) -> object:
    # Advisory locks belong to the database, which may hold more schemas than ours. Two scopes with
    # one key would only wait for each other.
    named = sha256(f"paybill.store\0{schema}\0{what}".encode()).digest()
    return literal(int.from_bytes(named[:8], "big", signed=True), BigInteger)


@contextmanager
def _named_faults() -> Generator[None]:
    try:
        yield
    except PoolTimeoutError:
        raise Unavailable("Every connection to the store is taken.", code="store_locked") from None
    except DBAPIError as error:
        fault = _named(error)
        if fault is None:
            raise
        # Without its cause: what the server said may hold rows, names and addresses.
        raise fault from None


def _named(error: DBAPIError) -> Unavailable | None:
    if not isinstance(error.orig, psycopg.Error):
        return None
    state = error.orig.sqlstate
    if state in _LOCKED:
        return Unavailable("The store is locked by another process.", code="store_locked")
    if state in _FULL:
        return Unavailable("The store cannot be written: no room on the disk.", code="store_full")
    gone = error.connection_invalidated or (
        state is None and isinstance(error.orig, psycopg.OperationalError)
    )
    if gone or state in _UNUSABLE or (state or "")[:2] in _UNUSABLE_CLASSES:
        return _unusable(state)
    return None


def _unusable(state: str | None) -> Unavailable:
    told = "" if state is None else f" ({state})"
    return Unavailable(f"The store does not answer as it must{told}.", code="store_unavailable")
