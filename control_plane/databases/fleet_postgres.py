"""The owner's hand on one place on Postgres, for a migration. Not who holds the place meanwhile."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from psycopg.sql import Identifier
from sqlalchemy import Connection, MetaData, Table, func, inspect, select, text

from control_plane.data.collection import Collection
from control_plane.databases.altering import Bounds
from control_plane.databases.capturing import Capturing, being_moved
from control_plane.databases.migrated import MIGRATED
from control_plane.databases.postgres_faults import translated
from control_plane.databases.postgres_guard import GUARD
from control_plane.databases.postgres_layout import (
    force_row_security,
    guard_table,
    require_closed,
    silence,
)
from control_plane.databases.postgres_names import Place
from control_plane.databases.postgres_sessions import Login

_GUARDED: Final = text(
    "SELECT relforcerowsecurity FROM pg_catalog.pg_class"
    " WHERE oid = to_regclass(quote_ident(:table))"
)


class PostgresAltering:
    """Altering for the owner's login, in one place."""

    def __init__(self, owner: Login, place: Place) -> None:
        self._owner = owner
        self._place = place

    @property
    def dialect(self) -> Literal["postgres"]:
        """Postgres's."""
        return "postgres"

    @contextmanager
    def transaction(self, bounds: Bounds) -> Generator[Connection]:
        """A transaction in the place, with bounds of its own."""
        with self._owner.transaction(self._place) as connection:
            _bound(connection, bounds, local=True)
            yield connection

    @contextmanager
    def statements(self, bounds: Bounds) -> Generator[Connection]:
        """A session of its own, in which names are those of the place."""
        with self._owner.statements(self._place.database) as connection:
            _bound(connection, bounds, local=False)
            path = Identifier(self._place.schema).as_string() + ", pg_temp"
            connection.execute(select(func.set_config("search_path", path, False)))
            yield connection

    def require_still(self, connection: Connection) -> None:
        """Raise Unavailable (`database_busy`) while a tenant is moved out of the place."""
        if self._capturing().is_left(connection):
            raise being_moved()

    def execute(self, connection: Connection, sql: str, bounds: Bounds) -> None:
        """Execute one statement; the transaction has its bounds."""
        with translated():
            # The driver takes a percent sign for a parameter.
            connection.exec_driver_sql(sql.replace("%", "%%"))

    @contextmanager
    def all_rows(self, connection: Connection, tables: Sequence[str]) -> Generator[None]:
        """The owner sees every tenant's rows for that long, and nobody else does.

        Those of who has left the place are written past its triggers.
        The tables are locked, and the transaction is not committed.
        """
        hidden = sorted(set(tables)) if self._place.is_pooled else []
        with translated():
            for table in hidden:
                force_row_security(connection, table, is_on=False)
        with self._capturing().passed_by_all(connection):
            yield
        for table in hidden:
            force_row_security(connection, table, is_on=True)

    def guard(self, connection: Connection, tables: Sequence[str]) -> None:
        """Row security, policies and rights for each that has none; no statistics of any."""
        for name in tables:
            table = MIGRATED if name == MIGRATED.name else _reflected(connection, name)
            if not _is_guarded(connection, name):
                guard_table(connection, table, self._place, counted=False)
            elif self._place.is_shared:
                silence(connection, table)

    def require_closed(self, connection: Connection, collections: Sequence[Collection]) -> None:
        """Raise Refused (`schema_differs`; `rule`) where rows lie open to another tenant."""
        require_closed(connection, self._place, collections)

    def _capturing(self) -> Capturing:
        return Capturing(self._place.tenant, schema=GUARD, place=self._place.schema)


def _bound(connection: Connection, bounds: Bounds, *, local: bool) -> None:
    said = {
        "lock_timeout": str(bounds.lock_ms),
        "statement_timeout": str(bounds.statement_ms),
    }
    set_all = [func.set_config(name, value, local) for name, value in said.items()]
    connection.execute(select(*set_all))


def _reflected(connection: Connection, name: str) -> Table:
    table = Table(name, MetaData())
    inspect(connection).reflect_table(table, None)
    return table


def _is_guarded(connection: Connection, name: str) -> bool:
    return bool(connection.execute(_GUARDED, {"table": name}).scalar())
