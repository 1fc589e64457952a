"""A worker that is killed while it changes a tenant's tables: the old stands or the new, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.databases.migration import MigrationPhase
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.support.evolutions import (
    AFTER,
    BEFORE,
    PEOPLE,
    TEAMS,
    old_person,
    put,
    row,
    tables_shape,
)
from tests.support.killed import kill_when_ready
from tests.support.slices import sliced

CHILD: Final = """
import itertools, sys, threading
from pathlib import Path
from sqlalchemy import make_url
from control_plane.databases import postgres_migration, rebuild, reference, sqlite
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.sqlite import SqliteDatabases
from tests.support.evolutions import AFTER, BEFORE

model, phase, moment, *where = sys.argv[1:]

def wait_to_be_killed(*_, **__):
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

def cut_off(statements):
    def some(*given):
        yield from itertools.islice(statements(*given), 7)
        wait_to_be_killed()
    return some

if moment == "between statements":
    rebuild.rebuilds = cut_off(rebuild.rebuilds)
    postgres_migration.alterations = cut_off(postgres_migration.alterations)
if moment == "before the commit":
    sqlite.record = postgres_migration.record = wait_to_be_killed
if moment == "before the declared rows":
    reference.settle = postgres_migration.replace_reference = wait_to_be_killed
if len(where) == 1:
    databases = SqliteDatabases(Path(where[0]), busy_timeout_ms=2000)
else:
    databases = PostgresDatabases.opened(
        owner=make_url(where[0]), face=make_url(where[1]), prefix=where[2], statement_ms_max=5000
    )
databases.migrate("acme", model, BEFORE, AFTER, phase, 1)
"""
PHASES: Final[tuple[MigrationPhase, ...]] = ("expand", "contract")
MOMENTS: Final = ("between statements", "before the commit", "before the declared rows")


@dataclass(frozen=True)
class Here:
    """An engine, and what a child needs to open the same one."""

    databases: DatabaseEngine
    where: tuple[str, ...]


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Here]:
    if request.param == "sqlite":
        root = tmp_path / "data"
        yield Here(SqliteDatabases(root, busy_timeout_ms=2_000), (str(root),))
        return
    server = request.getfixturevalue("server")
    urls = [url.render_as_string(hide_password=False) for url in (server.owner, server.face)]
    with ExitStack() as stack:
        yield Here(stack.enter_context(server.engine()), (*urls, server.prefix))


def shape(databases: DatabaseEngine, model: Isolation) -> dict[str, Any]:
    with databases.reading("acme", model) as connection:
        return tables_shape(connection)


WAYS: Final[list[tuple[Isolation, MigrationPhase, str]]] = [
    (model, phase, moment) for moment in MOMENTS for phase in PHASES for model in ISOLATIONS
]


@pytest.mark.long
@pytest.mark.parametrize("way", sliced(WAYS, every=18), ids="-".join)
def test_a_change_that_was_killed_left_the_old_or_the_new_and_is_finished_by_its_repetition(
    here: Here, way: tuple[Isolation, MigrationPhase, str]
) -> None:
    databases = here.databases
    model, phase, moment = way
    databases.create("acme", model, BEFORE, 1)
    with databases.transaction("acme", model) as connection:
        put(connection, TEAMS, row(900, "acme", title="t"))
        put(connection, PEOPLE, old_person(1, "acme"))
    if phase == "contract":
        databases.migrate("acme", model, BEFORE, AFTER, "expand", 1)
    stood = shape(databases, model)
    kill_when_ready(CHILD, model, phase, moment, *here.where)
    # On SQLite the declared rows are a file of their own, which follows the tables.
    is_new = moment == "before the declared rows" and len(here.where) == 1
    assert (shape(databases, model) != stood) is is_new
    if phase == "expand":
        assert databases.probe("acme", model, BEFORE) == "ready"
    databases.migrate("acme", model, BEFORE, AFTER, phase, 1)
    assert databases.probe("acme", model, AFTER) == "ready"
    other = "differs" if phase == "contract" else "ready"
    assert databases.probe("acme", model, BEFORE) == other
