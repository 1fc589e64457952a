"""Tenants' databases on the test process's Postgres server, with the logins that `init` would make. Holds no test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import URL

from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from tests.support.postgres import Postgres

PASSWORD = "kept-in-the-state-folder"


@dataclass(frozen=True)
class TenantServer:
    """A workspace's logins and prefix on a server."""

    root: URL
    owner: URL
    face: URL
    prefix: str

    @contextmanager
    def engine(
        self, *, as_face: bool = False, statement_ms_max: int = 5_000
    ) -> Generator[PostgresDatabases]:
        """The engine as a worker or a face has it; its connections end with the block."""
        databases = PostgresDatabases.opened(
            owner=None if as_face else self.owner,
            face=self.face,
            prefix=self.prefix,
            statement_ms_max=statement_ms_max,
        )
        try:
            yield databases
        finally:
            databases.close()

    @contextmanager
    def raw(self, url: URL, database: str | None = None) -> Generator[psycopg.Connection]:
        """A session of a login outside of any engine."""
        with _session(url, database) as connection:
            yield connection


@contextmanager
def tenant_server(postgres: Postgres) -> Generator[TenantServer]:
    """Logins of their own on the server; all that was made under their prefix goes at the end."""
    prefix = f"t{uuid4().hex[:8]}"
    owner, face = f"{prefix}_owner", f"{prefix}_face"
    with ExitStack() as stack:
        # Called last: an owner goes after the database that it is let into.
        stack.callback(_remove, postgres.owner, prefix)
        root = stack.enter_context(postgres.database())
        server = TenantServer(
            root,
            root.set(username=owner, password=PASSWORD),
            root.set(username=face, password=PASSWORD),
            prefix,
        )
        with server.raw(root) as connection:
            _login(connection, owner, "CREATEDB CREATEROLE")
            # As the store's database: the login for tenants' data has no business there.
            home = Identifier(str(root.database))
            connection.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(home))
            granted = SQL("GRANT CONNECT ON DATABASE {} TO {}")
            connection.execute(granted.format(home, Identifier(owner)))
        with server.raw(server.owner) as connection:
            _login(connection, face, "NOINHERIT")
        yield server


@contextmanager
def workspace(server: TenantServer) -> Generator[TenantServer]:
    """The same logins with a prefix of its own: a server on which nothing stands yet."""
    fresh = replace(server, prefix=f"{server.prefix}_{uuid4().hex[:6]}")
    try:
        yield fresh
    finally:
        _remove(fresh.root, fresh.prefix)


def _login(connection: psycopg.Connection, name: str, rights: LiteralString) -> None:
    statement = SQL("CREATE ROLE {} LOGIN {} PASSWORD {}")
    connection.execute(statement.format(Identifier(name), SQL(rights), Literal(PASSWORD)))


def names_on(
    connection: psycopg.Connection, catalog: LiteralString, column: LiteralString
) -> set[str]:
    """All names in one of the server's catalogs."""
    found = SQL("SELECT {} FROM {}").format(Identifier(column), Identifier(*catalog.split(".")))
    return {str(name) for (name,) in connection.execute(found).fetchall()}


def standing(server: TenantServer) -> dict[str, set[str]]:
    """All that the server has under the prefix, and what its shared database holds."""
    with server.raw(server.root) as raw:
        found = {
            "databases": names_on(raw, "pg_database", "datname"),
            "roles": names_on(raw, "pg_roles", "rolname"),
        }
    ours = {
        kind: {name for name in names if name.startswith(server.prefix)}
        for kind, names in found.items()
    }
    shared = Names(server.prefix).shared
    if shared in ours["databases"]:
        with server.raw(server.owner, shared) as raw:
            ours["schemas"] = names_on(raw, "pg_namespace", "nspname")
            ours["entries"] = names_on(raw, "paybill.entry", "tenant_id")
    return ours


def _remove(root: URL, prefix: str) -> None:
    with _session(root) as connection:
        for name in names_on(connection, "pg_database", "datname"):
            if name.startswith(prefix):
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
        roles = names_on(connection, "pg_roles", "rolname")
        # The owner granted all the others what they have, and so goes last.
        for name in sorted(roles, key=lambda name: name.endswith("_owner")):
            if name.startswith(prefix):
                connection.execute(SQL("DROP ROLE {}").format(Identifier(name)))


@contextmanager
def _session(url: URL, database: str | None = None) -> Generator[psycopg.Connection]:
    with psycopg.connect(
        host=str(url.query["host"]),
        user=url.username,
        password=url.password,
        dbname=database or url.database,
        autocommit=True,
    ) as connection:
        yield connection
