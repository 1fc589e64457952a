"""The same databases without us: a database, a schema, a row, a file with the same tables. Measures nothing.

The tables are those of a tenant, keys and indexes too; no role, policy, trigger or fence is about them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from many_tickets import TABLE, TICKETS, ticket
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, NullPool, create_engine, create_mock_engine

from control_plane.data.tables import tenant_metadata
from control_plane.domain.isolation import Isolation
from tests.support.many_rows import fill
from tests.support.tenants import TenantServer

TENANT = "acme"
_ADDED: Final = "INSERT INTO paybill_fence (tenant_id, epoch, open) VALUES "


def tables_of(url: str) -> list[str]:
    """The statements that make a tenant's tables on that engine."""
    made: list[str] = []

    def keep(one: Any, *_: object, **__: object) -> None:
        made.append(str(one.compile(dialect=engine.dialect)))

    engine = create_mock_engine(url, keep)
    tenant_metadata([TICKETS]).create_all(engine, checkfirst=False)
    return made


@dataclass(frozen=True)
class BarePostgres:
    """Databases of the server's administrator; `shared` has the tables, and a session on it is open."""

    server: TenantServer
    root: psycopg.Connection
    inside: psycopg.Connection
    statements: tuple[bytes, ...]

    @property
    def template(self) -> str:
        """An empty database with the tables."""
        return f"{self.server.prefix}_template"

    def make(self, model: Isolation, number: int) -> None:
        """What somebody would do for one more tenant of that model."""
        if model == "silo":
            self.copy_template(f"{self.server.prefix}_bare_{number}")
        elif model == "bridge":
            schema = Identifier(f"bare_{number}")
            with self.inside.transaction():
                self.inside.execute(SQL("CREATE SCHEMA {}").format(schema))
                self.inside.execute(SQL("SET LOCAL search_path = {}").format(schema))
                for statement in self.statements:
                    self.inside.execute(statement)
        else:
            self.inside.execute(_ADDED + "(%s, 1, true)", [f"bare-{number}"])

    def copy_template(self, name: str) -> None:
        """A database of that name."""
        copied = SQL("CREATE DATABASE {} TEMPLATE {}")
        self.root.execute(copied.format(Identifier(name), Identifier(self.template)))

    def make_empty(self, name: str) -> None:
        """A database of that name without a table."""
        self.root.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))

    def drop(self, name: str) -> None:
        """It goes, whoever is connected."""
        self.root.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@contextmanager
def bare_postgres(server: TenantServer) -> Generator[BarePostgres]:
    """The template, and a database for all that share one; they go with the server's prefix."""
    statements = tuple(one.encode() for one in tables_of("postgresql+psycopg://"))
    template, shared = f"{server.prefix}_template", f"{server.prefix}_bare"
    with server.raw(server.root) as root:
        root.execute(SQL("CREATE DATABASE {}").format(Identifier(template)))
        with server.raw(server.root, template) as filling:
            for statement in statements:
                filling.execute(statement)
        copied = SQL("CREATE DATABASE {} TEMPLATE {}")
        root.execute(copied.format(Identifier(shared), Identifier(template)))
        with server.raw(server.root, shared) as inside:
            yield BarePostgres(server, root, inside, statements)


def filled_postgres(bare: BarePostgres, rows: int) -> str:
    """The name of a database with so many rows."""
    name = f"{bare.server.prefix}_rows"
    bare.copy_template(name)
    engine = create_engine(bare.server.root.set(database=name), poolclass=NullPool)
    with engine.begin() as connection:
        _fill(connection, rows)
    return name


class BareSqlite:
    """Files of nobody's; what shares one lies in `shared.db`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._statements = tables_of("sqlite://")
        self._made(folder / "shared.db")

    def make(self, model: Isolation, number: int) -> None:
        """What somebody would do for one more tenant of that model."""
        if model != "pooled":
            self._made(self._folder / f"{model}-{number}.db")
            return
        with closing(_opened(self._folder / "shared.db")) as file:
            file.execute(_ADDED + "(?, 1, 1)", [f"bare-{number}"])

    def filled(self, rows: int) -> Path:
        """A file with so many rows."""
        path = self._folder / "rows.db"
        self._made(path)
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.begin() as connection:
            _fill(connection, rows)
        return path

    def _made(self, path: Path) -> None:
        with closing(_opened(path)) as file:
            file.execute("BEGIN IMMEDIATE")
            for statement in self._statements:
                file.execute(statement)
            file.execute("COMMIT")


def copy_file(source: Path, target: Path) -> None:
    """SQLite's online backup."""
    with closing(_opened(source)) as given, closing(_opened(target)) as taken:
        given.backup(taken)


def _opened(path: Path) -> sqlite3.Connection:
    # As ours: every commit waits for the disk.
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("PRAGMA synchronous=FULL")
    return file


def _fill(connection: Connection, rows: int) -> None:
    fill(connection, TABLE, TENANT, rows, ticket)
