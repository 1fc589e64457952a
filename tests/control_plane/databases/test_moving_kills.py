"""A move that is killed before any of its statements: what the next worker finds, it can go on from."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete

from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import Isolation
from tests.support.killed import kill_when_ready
from tests.support.moving_course import PHASES, Course, Killed, statements
from tests.support.moving_spots import NOTE, PERSON, Spot, left_by_a_move, spot_on
from tests.support.moving_team import BOARD, CARD
from tests.support.moving_writers import Op, Writer, direct, seen
from tests.support.postgres import Postgres
from tests.support.tenants import TenantServer, tenant_server

SOURCES: Final[tuple[tuple[str, Isolation], ...]] = (("sqlite", "pooled"), ("postgres", "pooled"))
# What is written before each phase that writers may still write in.
WRITTEN: Final[dict[str, list[list[Op]]]] = {
    "capture": [
        [("add", 1, 1), ("add", 2, 1), ("add", 3, 1), ("note", 1, 1), ("boss", 1, 2)],
        [("board", 1, 1), ("board", 2, 1), ("card", 1, 1), ("card", 2, 2)],
    ],
    "copy": [[("swap", 1, 2), ("note", 2, 3), ("board", 1, 1), ("rekeyed", 1, 1)]],
    "follow": [
        [("again", 2, 2), ("rekey", 3, 4)],
        [("unnote", 1, 1), ("drop", 1, 1), ("uncard", 2, 2)],
    ],
    "freeze": [[("add", 5, 5), ("rename", 5, 5), ("note", 3, 5)]],
}
# Of the statements of a course, those before which the default run kills; the sweep takes all.
_FIRST: Final = 41
_STEP: Final = 151


@pytest.fixture(scope="module")
def logins(postgres: Postgres) -> Iterator[TenantServer]:
    with tenant_server(postgres) as made:
        yield made


@contextmanager
def standing(
    kind: str, model: Isolation, root: Path, logins: TenantServer
) -> Generator[tuple[Spot, Spot]]:
    with ExitStack() as held:
        source = held.enter_context(spot_on(kind, model, root, logins)).made()
        target = held.enter_context(spot_on("postgres", "bridge", root, logins)).closed()
        yield source, target


def travel(source: Spot, target: Spot, epoch: int, kill_at: int) -> int:
    """A whole move with one kill in it, and what came of it; gives how many statements it had."""
    source.databases.fence("acme", source.model, epoch, open=True)
    with direct(source) as engine:
        with engine.begin() as connection:
            for table in (NOTE, PERSON, CARD, BOARD):
                connection.execute(delete(table).where(table.c.tenant_id == "acme"))
        writer = Writer(source, engine)

        def write(phase: str) -> None:
            for ops in WRITTEN.get(phase, []):
                writer.transact(ops)

        def end(number: int) -> None:
            if number == kill_at:
                raise Killed

        course = Course(source, target, write)
        with statements(end) as counted, suppress(Killed):
            course.run(epoch)
        if counted() >= kill_at > 0:
            course.run(epoch + 1)
        assert seen(target) == writer.ledger.told() == seen(source)
        assert left_by_a_move(source) == set()
        assert course.at == PHASES[-1]
        return counted()


def travel_all(source: Spot, target: Spot, first: int, step: int) -> None:
    whole = travel(source, target, 10, 0)
    for place, number in enumerate(range(first, whole + 1, step)):
        travel(source, target, 20 + 2 * place, number)


@pytest.mark.long
@pytest.mark.parametrize("at", SOURCES, ids="-".join)
def test_a_move_that_is_killed_goes_on(
    at: tuple[str, Isolation], tmp_path: Path, logins: TenantServer
) -> None:
    with standing(*at, tmp_path, logins) as (source, target):
        travel_all(source, target, _FIRST, _STEP)


# What is raised before a statement leaves its cursor to nobody: a process that dies has none to close.
@pytest.mark.filterwarnings("ignore:.*ServerCursor:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.sweep
@pytest.mark.parametrize("model", ["silo", "pooled"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_move_that_is_killed_before_any_statement_goes_on(
    kind: str, model: Isolation, tmp_path: Path, logins: TenantServer
) -> None:
    with standing(kind, model, tmp_path, logins) as (source, target):
        travel_all(source, target, 1, 1)


@pytest.mark.sweep
@pytest.mark.parametrize("number", range(1, 200, 13))
@pytest.mark.parametrize("at", SOURCES, ids="-".join)
def test_a_move_whose_process_is_killed_goes_on(
    at: tuple[str, Isolation], number: int, tmp_path: Path, logins: TenantServer
) -> None:
    kind, model = at
    with standing(kind, model, tmp_path, logins) as (source, target), direct(source) as engine:
        writer = Writer(source, engine)
        writer.transact(WRITTEN["capture"][0])
        root = source.databases._root if isinstance(source.databases, SqliteDatabases) else tmp_path
        server = source.server or target.server
        assert server is not None
        # The child opens one place on the server, with the source and the target in it.
        other = target if kind == "sqlite" else Spot(source.databases, "bridge").closed()
        urls = [url.render_as_string(hide_password=False) for url in (server.owner, server.face)]
        code = "import sys; from tests.support.moving_course import child; child(*sys.argv[1:])"
        kill_when_ready(code, kind, str(root), *urls, server.prefix, model, str(number))
        course = Course(source, other, lambda _: None)
        course.run(3)
        assert seen(other) == writer.ledger.told() == seen(source)
        assert left_by_a_move(source) == set()
