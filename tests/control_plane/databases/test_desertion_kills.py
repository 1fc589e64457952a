"""A worker that is killed while it makes a deserted place anew: what stood before stands, on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from control_plane.databases.port import DatabaseEngine
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.databases.sqlite import SqliteDatabases
from tests.support.evolutions import AFTER, BEFORE, tables_shape
from tests.support.killed import kill_when_ready
from tests.support.tenants import TenantServer, names_on

CHILD: Final = """
import sys, threading
from pathlib import Path
from sqlalchemy import make_url
from control_plane.databases import postgres_worker, sqlite
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.sqlite import SqliteDatabases
from tests.support.evolutions import AFTER

where = sys.argv[1:]

def wait_to_be_killed(*_, **__):
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

# Both are asked once the new tables are there, in the transaction that has made them.
sqlite.serves = postgres_worker.serves = wait_to_be_killed
if len(where) == 1:
    databases = SqliteDatabases(Path(where[0]), busy_timeout_ms=2000)
else:
    databases = PostgresDatabases.opened(
        owner=make_url(where[0]), face=make_url(where[1]), prefix=where[2], statement_ms_max=5000
    )
databases.create("other", "pooled", AFTER, 1)
"""


def desert(databases: DatabaseEngine) -> None:
    databases.create("acme", "pooled", BEFORE, 1)
    databases.drop("acme", "pooled", 1)


def assert_finished_by_its_repetition(databases: DatabaseEngine) -> None:
    assert not databases.exists("other", "pooled")
    databases.create("other", "pooled", AFTER, 1)
    assert databases.probe("other", "pooled", AFTER) == "ready"


def test_a_file_is_made_anew_whole_or_not_at_all(tmp_path: Path) -> None:
    databases = SqliteDatabases(tmp_path / "data", busy_timeout_ms=2_000)
    desert(databases)
    with databases.reading("acme", "pooled") as connection:
        stood = tables_shape(connection)
    kill_when_ready(CHILD, str(tmp_path / "data"))
    with databases.reading("acme", "pooled") as connection:
        assert tables_shape(connection) == stood
    assert_finished_by_its_repetition(databases)


@pytest.mark.long
def test_a_schema_is_made_anew_whole_or_not_at_all(
    on_postgres: PostgresDatabases, server: TenantServer
) -> None:
    desert(on_postgres)
    urls = [url.render_as_string(hide_password=False) for url in (server.owner, server.face)]
    shared = Names(server.prefix).shared
    with server.raw(server.owner, shared) as raw:
        stood = names_on(raw, "pg_tables", "tablename")
        kill_when_ready(CHILD, *urls, server.prefix)
        assert names_on(raw, "pg_tables", "tablename") == stood
    assert_finished_by_its_repetition(on_postgres)
    with server.raw(server.owner, shared) as raw:
        assert names_on(raw, "pg_tables", "tablename") - stood == {"deals"}
