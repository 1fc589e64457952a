"""Both engines of tenants' databases, each twice: where rows are, and where they come to. Measures nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from many_tickets import TABLE, TICKETS, ticket

from control_plane.databases.port import DatabaseEngine
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from tests.support.many_rows import fill
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server, workspace

_STATEMENT_MS = 300_000
_BUSY_MS = 5_000


@dataclass(frozen=True)
class Places:
    """On either engine a source and an empty target; `server` is that of the source on Postgres."""

    folder: Path
    server: TenantServer
    sources: dict[str, DatabaseEngine]
    targets: dict[str, DatabaseEngine]
    postgres: PostgresDatabases
    """The source on Postgres."""


@contextmanager
def places(postgres: Postgres, folder: Path) -> Generator[Places]:
    """With nothing in any of them; on Postgres all goes at the end."""
    with ExitStack() as stack:
        logins = stack.enter_context(tenant_server(postgres))
        here, there = (stack.enter_context(workspace(logins)) for _ in range(2))
        lite = [SqliteDatabases(folder / name, _BUSY_MS) for name in ("source", "target")]
        for one in lite:
            stack.callback(one.close)
        own, other = (
            stack.enter_context(one.engine(statement_ms_max=_STATEMENT_MS)) for one in (here, there)
        )
        yield Places(
            folder,
            here,
            {"SQLite": lite[0], "Postgres": own},
            {"SQLite": lite[1], "Postgres": other},
            own,
        )


def with_rows(databases: DatabaseEngine, tenant: str, model: Isolation, rows: int) -> None:
    """Make the tenant's database, and put so many rows straight into it."""
    databases.create(tenant, model, [TICKETS], 1)
    with databases.transaction(tenant, model) as connection:
        fill(connection, TABLE, tenant, rows, ticket)
