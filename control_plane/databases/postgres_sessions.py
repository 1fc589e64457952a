"""Transactions of one login on a Postgres server, each within one tenant. Not what stands there.

Who enters a tenant shows a token that only the holder of the face's password can make; the policies
on every table ask for it. So a statement that takes another role, or names another tenant, finds no
row: the token of that other tenant never was in the session.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from psycopg.pq import TransactionStatus
from psycopg.sql import Identifier
from sqlalchemy import URL, Connection, Engine, RootTransaction, Select, column, func, select, table
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from control_plane.data.deadline import GATHERING, HELD
from control_plane.databases.postgres_faults import (
    fault,
    leaves_nothing,
    translated,
    undefined_is_not_found,
)
from control_plane.databases.postgres_names import Place
from control_plane.databases.postgres_pools import Pools
from control_plane.errors import BadInput, Failed, NotFound, Unavailable, Unknown

_IDLE_MS_MAX: Final = 60_000
_READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_DATABASES: Final = table("pg_database", column("datname"), schema="pg_catalog")
_ROLES: Final = table("pg_roles", column("rolname"), schema="pg_catalog")
_ENTERED: Final = func.paybill.entered()
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Entries:
    """Makes the tokens of entry from the face's password. Raises BadInput without one."""

    def __init__(self, face: URL) -> None:
        if not face.password:
            raise BadInput("face", "must carry a password")
        self._password = str(face.password).encode()

    def token(self, place: Place) -> str:
        """The token of one tenant in one place, 64 hexadecimal digits."""
        named = f"{place.database}\0{place.schema}\0{place.tenant}"
        return hmac.new(self._key, named.encode(), hashlib.sha256).hexdigest()

    @cached_property
    def _key(self) -> bytes:
        # Slow on purpose: who sees one token must not find the password by trying.
        return hashlib.scrypt(self._password, salt=b"paybill entry", n=2**14, r=8, p=1)


@dataclass(frozen=True, slots=True)
class Waits:
    """How long one statement may run, and how long of that it may wait for a lock."""

    statement_ms_max: int
    lock_ms_max: int


class Login:
    """The sessions of the worker's owner, or of a face, which `takes_role`s to do anything."""

    def __init__(
        self, url: URL, entries: Entries, waits: Waits, shared: str, *, takes_role: bool
    ) -> None:
        self._home = url.database or "postgres"
        # The login for tenants' data is not let into the store's database; the last is everyone's.
        self._homes = dict.fromkeys((self._home, shared, "postgres"))
        self._entries = entries
        self._waits = waits
        self._takes_role = takes_role
        self._pools = Pools(url, waits.lock_ms_max, takes_role=takes_role)

    @contextmanager
    def transaction(
        self, place: Place, *, commit: bool = True, is_standing: bool = True
    ) -> Generator[Connection]:
        """A write transaction in the tenant's place. Raises NotFound unless the tenant is there.

        The owner who builds the place says `is_standing=False`.
        """
        with self.connected(place.database) as connection:
            transaction = connection.begin()
            try:
                with translated():
                    self.enter(connection, place)
                    if is_standing:
                        _require_entered(connection, place, writing=self._takes_role)
                    yield connection
                    if commit:
                        _require_whole(connection)
            except BaseException:
                _roll_back(transaction)
                raise
            if commit:
                _commit(transaction)
            else:
                _roll_back(transaction)

    @contextmanager
    def reading(self, place: Place) -> Generator[Connection]:
        """A snapshot that cannot write. Raises NotFound."""
        with self.connected(place.database) as plain:
            # Most that is read is the first rows of an order: to say so costs nothing here.
            settings = dict.fromkeys(GATHERING, "off")
            held = {**settings, "statement_timeout": str(self._waits.statement_ms_max)}
            connection = plain.execution_options(**_READING, **{HELD: held})
            transaction = connection.begin()
            try:
                with translated():
                    self.enter(connection, place, settings)
                    _require_entered(connection, place, writing=False)
                    yield connection
            finally:
                _roll_back(transaction)

    @contextmanager
    def statements(self, database: str | None = None) -> Generator[Connection]:
        """A session without a transaction, for what Postgres does in none."""
        with self.connected(database or self._home) as plain, translated():
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            self._bound(connection, local=False)
            yield connection

    @contextmanager
    def connected(self, database: str) -> Generator[Connection]:
        """A connection to the database. Raises NotFound when there is none of that name."""
        with self._pools.engine(database) as engine:
            connection = self._opened(engine, database)
            try:
                yield connection
            finally:
                connection.close()

    def finds(self, statement: Select[Any]) -> bool:
        """Whether what the whole server knows has such a row, asked wherever we are let in."""
        for home in self._homes:
            with (
                suppress(Unavailable),
                self._pools.engine(home) as engine,
                translated(),
                engine.connect() as connection,
            ):
                return connection.execute(statement).first() is not None
        raise _silent()

    def forget(self, database: str) -> None:
        """Keep no connection to a database that is to go."""
        self._pools.forget(database)

    def close(self) -> None:
        """Close every idle connection."""
        self._pools.close()

    def _opened(self, engine: Engine, database: str) -> Connection:
        try:
            with translated():
                return engine.connect()
        except (Unavailable, InvalidRequestError) as error:
            if self.finds(database_named(database)):
                raise _silent(error) from error
            self._pools.forget(database)
            raise NotFound from None

    def enter(self, connection: Connection, place: Place, more: Mapping[str, str] = _NONE) -> None:
        """Be in the tenant's place from here to the end of the transaction, or to the next one."""
        settings = {
            **more,
            "search_path": Identifier(place.schema).as_string() + ", pg_temp",
            "paybill.tenant": place.tenant,
            "paybill.entry": self._entries.token(place),
        }
        if self._takes_role:
            settings["role"] = place.role
        with undefined_is_not_found():
            self._bound(connection, local=True, settings=settings)

    def _bound(
        self, connection: Connection, *, local: bool, settings: dict[str, str] | None = None
    ) -> None:
        bounds = {
            "statement_timeout": str(self._waits.statement_ms_max),
            "lock_timeout": str(self._waits.lock_ms_max),
            "idle_in_transaction_session_timeout": str(_IDLE_MS_MAX),
            "timezone": "UTC",
            **(settings or {}),
        }
        set_all = [func.set_config(name, value, local) for name, value in bounds.items()]
        connection.execute(select(*set_all))


def database_named(name: str) -> Select[Any]:
    """The server's database of that name: whoever connects may see that."""
    return select(_DATABASES.c.datname).where(_DATABASES.c.datname == name)


def role_named(name: str) -> Select[Any]:
    """The server's role of that name."""
    return select(_ROLES.c.rolname).where(_ROLES.c.rolname == name)


def _require_entered(connection: Connection, place: Place, *, writing: bool) -> None:
    # Who closes the tenant takes this lock alone, and so waits for writers at work, not for new ones.
    lock = [func.pg_advisory_xact_lock_shared(place.lock)] if writing else []
    with undefined_is_not_found():
        entered = connection.execute(select(_ENTERED, *lock)).one()
    if entered[0] != place.tenant:
        raise NotFound


def _require_whole(connection: Connection) -> None:
    """Raise unless a COMMIT would commit: Postgres answers it with a silent rollback otherwise."""
    driver = connection.connection.driver_connection
    assert driver is not None  # an open connection has one
    status = driver.info.transaction_status
    if status == TransactionStatus.INERROR:
        raise Failed("A statement failed, and all of its transaction.", code="statement_failed")
    if status == TransactionStatus.UNKNOWN:
        raise _silent()
    if status == TransactionStatus.IDLE:
        raise Unknown("The transaction was ended by a statement.", code="commit_unknown")


def _commit(transaction: RootTransaction) -> None:
    try:
        transaction.commit()
    except DBAPIError as error:
        _roll_back(transaction)
        known = fault(error)
        if leaves_nothing(error):
            raise known from error
        raise Unknown(
            "The database did not say whether it committed.", code="commit_unknown"
        ) from error


def _roll_back(transaction: RootTransaction) -> None:
    # A server that is gone has rolled back by itself.
    with suppress(DBAPIError):
        transaction.rollback()


def _silent(error: Exception | None = None) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    return Unavailable("The tenant's database is unavailable.", code="database_unavailable")
