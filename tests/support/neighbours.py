"""Two tenants on Postgres with a row each, and the statements that slip into the one. Holds no test."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.sql import Identifier
from sqlalchemy import Table, select
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names, Place
from control_plane.databases.postgres_sessions import Entries
from control_plane.domain.isolation import Isolation
from tests.support.rows import NOW, VALUES, row_id
from tests.support.tenants import TenantServer, workspace

# By the engine's own transaction, and by a session of the very login that faces hold.
WAYS: Final = ("engine", "raw")
SECRET: Final = "boss@secret.example"

Say: TypeAlias = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Neighbours:
    """Two tenants with rows; a test leaves what stands as it found it."""

    databases: PostgresDatabases
    table: Table
    people: Collection
    model: Isolation
    server: TenantServer

    def place(self, tenant: str) -> Place:
        """What the tenant's things are called."""
        return Names(self.server.prefix).place(tenant, self.model)

    def filled(self, statement: str, tenant: str = "other") -> bytes:
        """The statement with the names of the tenant's place in it."""
        place = self.place(tenant)
        names = {
            "schema": place.schema,
            "role": place.role,
            "owner": str(self.server.owner.username),
            "face": str(self.server.face.username),
        }
        quoted = {name: Identifier(value).as_string() for name, value in names.items()}
        return statement.format(**quoted).encode()

    @contextmanager
    def inside(self, tenant: str, way: str) -> Generator[Say]:
        """Statements within the tenant; `{names}` in them are the other one's. Nothing is kept."""
        if way == "raw":
            with self.entered(tenant) as raw:
                yield lambda statement: _rows(raw.execute(self.filled(statement)))
            return
        with self.databases.transaction(tenant, self.model) as connection:

            def say(statement: str) -> list[tuple[Any, ...]]:
                try:
                    found = connection.exec_driver_sql(self.filled(statement).decode())
                except DBAPIError as error:
                    raise error.orig or error from None
                return [tuple(row) for row in found] if found.returns_rows else []

            kept_not = connection.begin_nested()
            yield say
            kept_not.rollback()

    @contextmanager
    def entered(self, tenant: str) -> Generator[psycopg.Connection]:
        """A session of the face's login that has entered the tenant; rolled back at the end."""
        place = self.place(tenant)
        with self.server.raw(self.server.face, place.database) as raw:
            enter(raw, place, Entries(self.server.face).token(place))
            with raw.transaction(force_rollback=True):
                yield raw

    @contextmanager
    def operated(self, make: str, undo: str) -> Generator[None]:
        """What a superuser makes in acme's place, in the other one's where that is the same."""
        place = self.place("acme")
        with self.server.raw(self.server.root, place.database) as raw:
            try:
                raw.execute(self.filled(make, "acme"))
                yield
            finally:
                raw.execute(self.filled(undo, "acme"))

    def names_of(self, tenant: str) -> list[str]:
        """The names in the tenant's rows, as it sees them itself."""
        with self.databases.reading(tenant, self.model) as connection:
            return sorted(connection.execute(select(self.table.c.full_name)).scalars())


def enter(raw: psycopg.Connection, place: Place, token: str) -> None:
    """Enter as the engine does, for the whole session."""
    for setting, value in {
        "search_path": Identifier(place.schema).as_string(),
        "paybill.tenant": place.tenant,
        "paybill.entry": token,
        "role": place.role,
    }.items():
        raw.execute("SELECT set_config(%s, %s, false)", [setting, value])


@contextmanager
def neighbours(
    logins: TenantServer, people: Collection, table: Table, model: Isolation
) -> Generator[Neighbours]:
    """Acme and the other, each with a row; the other's has what must not be learned."""
    with workspace(logins) as server, server.engine() as databases:
        for tenant, email in (("acme", "a@b"), ("other", SECRET)):
            databases.create(tenant, model, [people], 1)
            with databases.transaction(tenant, model) as connection:
                connection.execute(
                    table.insert().values(
                        **VALUES | {"full_name": tenant, "email": email},
                        tenant_id=tenant,
                        id=row_id(1 if tenant == "acme" else 2),
                        version=1,
                        created_at=NOW,
                    )
                )
        yield Neighbours(databases, table, people, model, server)


def _rows(cursor: psycopg.Cursor[Any]) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description else []
