"""The one worker's claim on a store that several machines share: a session's lock. Not a lease, and no fence.

The server drops the lock with the session, so a killed worker frees it at once, a lost machine when
the server's keepalive gives its session up (half a minute), and a worker that stands still keeps it.
What a worker writes after it lost its claim without knowing is stopped by the tenants' fences.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from control_plane.errors import Unavailable
from control_plane.store.postgres import SCHEMA

# Advisory locks of two numbers never meet those of one, which the store's writers take.
_CLASS: Final = 0x50594C
_CONNECT_S_MAX = 5
_STATEMENT_MS_MAX = 5000
_SETTINGS: Final = {
    "statement_timeout": str(_STATEMENT_MS_MAX),
    "idle_session_timeout": "0",
    # How soon the server gives up the session of a machine that is gone without a word.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "search_path": "pg_catalog",
}
_TAKE = text("SELECT pg_try_advisory_lock(:space, :number)")
_HELD = text(
    "SELECT count(*) FROM pg_locks JOIN pg_database AS here ON here.oid = pg_locks.database"
    " WHERE here.datname = current_database() AND locktype = 'advisory' AND objsubid = 2"
    " AND classid = :space AND objid = :number AND pid = pg_backend_pid() AND granted"
)


class WorkerClaim:
    """One process at most holds the claim on a database's `schema`; it is not re-entrant.

    `url` must lead to the server itself: a pooler that shares sessions between clients would give
    the lock to somebody else, and is noticed by `holds`.
    """

    def __init__(self, url: URL, *, schema: str = SCHEMA) -> None:
        named = sha256(f"paybill.worker\0{schema}".encode()).digest()
        # An object's number is unsigned where it is listed, and signed where it is locked.
        self._key = {"space": _CLASS, "number": int.from_bytes(named[:4], "big") >> 1}
        self._engine = _engine(url)
        self._session: Connection | None = None

    def take(self) -> bool:
        """Whether the claim is ours from now on; False while another holds it. Unavailable."""
        try:
            session = self._session = self._session or self._engine.connect()
            return bool(session.execute(_TAKE, self._key).scalar_one())
        except SQLAlchemyError as error:
            self._drop()
            raise Unavailable(f"the store's server: {type(error).__name__}") from None

    def holds(self) -> bool:
        """Whether the session that took the claim still lives and has it. Once False, for good."""
        if self._session is None:
            return False
        try:
            if self._session.execute(_HELD, self._key).scalar_one():
                return True
        except SQLAlchemyError:
            pass
        self._drop()
        return False

    def release(self) -> None:
        """Give the claim up, by ending its session; again does nothing."""
        self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.invalidate()
            session.close()


def _engine(url: URL) -> Engine:
    return create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={
            "application_name": "paybill-claim",
            "connect_timeout": _CONNECT_S_MAX,
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "options": " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()),
        },
    )
