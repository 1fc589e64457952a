"""A tenant whose own service writes to its database directly and never stops, moved between every two models on Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import select, update

from control_plane.data.tables import collection_table
from control_plane.domain.canonical import instant
from control_plane.domain.isolation import Isolation
from control_plane.handlers.registry import failpoint_names
from control_plane.store.database_tables import handover
from policies.gate import Gate
from tests.support.approval_template import make_template
from tests.support.approval_world import TENANT, Template
from tests.support.handing import ADD, Served, served
from tests.support.moving import approved, moves, resumed
from tests.support.postgres import Postgres
from tests.support.slices import sliced
from tests.support.tenants import tenant_server, workspace
from tests.support.waiting import until

JOURNEY: Final[tuple[Isolation, ...]] = ("bridge", "silo", "pooled", "silo", "bridge", "pooled")
"""From a pool: each direction between two models once."""
_JOINED_S: Final = 30.0
POINTS: Final = [one for one in failpoint_names() if one.startswith("move.")]
FORWARD: Final = [one for one in POINTS if ".undo_" not in one]
BACKWARD: Final = [one for one in POINTS if ".undo_" in one]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("services"), "two_people")


@pytest.fixture
def life(tmp_path: Path, gate: Gate, template: Template, postgres: Postgres) -> Iterator[Served]:
    with ExitStack() as stack:
        logins = stack.enter_context(tenant_server(postgres))
        server = stack.enter_context(workspace(logins))
        yield from served(template, tmp_path, gate, server, "pooled")


class Service(threading.Thread):
    """Adds rows by what it was told last, and says that it follows. Its ledger is outside of any database.

    `unsure` are rows whose commit was cut off: they may stand or not.
    """

    def __init__(self, life: Served) -> None:
        super().__init__(daemon=True)
        self._life = life
        self._stop_asked = threading.Event()
        self.ledger: list[str] = []
        self.unsure: set[str] = set()
        self.turned_away = 0
        self.versions: list[int] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                try:
                    self._work_by_one_version()
                except psycopg.OperationalError:
                    self.turned_away += 1  # it asks anew where it is to go
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error

    def _work_by_one_version(self) -> None:
        known = self._life.handed
        self.versions.append(known.version)
        with self._life.service(known) as raw:
            self._follow(known.version)
            while not self._stop_asked.is_set() and self._life.handed.version == known.version:
                self._add(raw)

    def _add(self, raw: psycopg.Connection[tuple[object, ...]]) -> None:
        row = uuid4().hex
        try:
            raw.execute(ADD, [TENANT, row, f"{row}@example.com"])
        except psycopg.OperationalError:
            self.unsure.add(row)
            raise
        except psycopg.Error:
            self.turned_away += 1  # read-only: nothing was written
        else:
            self.ledger.append(row)

    def _follow(self, version: int) -> None:
        world = self._life.bench.world
        told = {"acked_version": version, "acked_at": instant(world.clock.now())}
        with world.store.write(TENANT) as connection:
            connection.execute(update(handover).where(handover.c.tenant == TENANT).values(told))

    def writes(self) -> None:
        """Wait until it has written some more."""
        before = len(self.ledger)
        until(lambda: len(self.ledger) > before + 5, "the service writes", 20.0)

    def stop(self) -> None:
        """Let it end, and tell what went wrong."""
        self._stop_asked.set()
        self.join(_JOINED_S)
        assert not self.is_alive()
        assert self.error is None, self.error


def rows_there(life: Served) -> set[str]:
    """The ids of the tenant's rows where it stands."""
    bench = life.bench
    home = bench.tenant.home
    table = collection_table(bench.world.ports.catalog.collections["contacts"])
    with bench.world.ports.databases.at(home).reading(TENANT, home.isolation) as connection:
        found = list(connection.execute(select(table.c.id)).scalars())
    assert len(found) == len(set(found)), "a row is there twice"
    return {str(one) for one in found}


def assert_kept(life: Served, service: Service) -> None:
    """Every row that was answered stands, and none that was not asked for."""
    there = rows_there(life)
    assert set(service.ledger) <= there
    assert there <= set(service.ledger) | service.unsure


@pytest.mark.long
def test_a_service_that_never_stops_loses_nothing_on_its_way_through_every_model(
    life: Served,
) -> None:
    service = Service(life)
    service.start()
    try:
        for isolation in JOURNEY:
            service.writes()
            run = resumed(life.bench, approved(life.bench, isolation=isolation, max_freeze_s=20))
            assert run.state == "applied", (isolation, run)
        service.writes()
    finally:
        service.stop()
    assert_kept(life, service)
    assert service.versions == sorted(service.versions)
    done = moves(life.bench)
    assert len(done) == len(JOURNEY)
    assert all(one.frozen_ms is not None and one.frozen_ms < 20_000 for one in done)


def test_who_does_not_follow_finds_the_old_place_shut(life: Served) -> None:
    with life.service() as raw:
        raw.execute(ADD, [TENANT, "r1", "e"])
        assert resumed(life.bench, approved(life.bench, isolation="bridge")).state == "applied"
        with pytest.raises(psycopg.Error):
            raw.execute(ADD, [TENANT, "r2", "f"])
    assert rows_there(life) == {"r1"}
    assert len(life.secrets) == 1
    with life.service() as raw:
        raw.execute(ADD, [TENANT, "r2", "f"])
    assert rows_there(life) == {"r1", "r2"}


def test_a_move_that_is_undone_leaves_the_service_where_it_was(life: Served) -> None:
    with life.service() as raw:
        raw.execute(ADD, [TENANT, "r1", "e"])
        run = resumed(life.bench, approved(life.bench, isolation="bridge"), "move.settle.done")
        assert run.state == "compensated"
        raw.execute(ADD, [TENANT, "r2", "f"])
    assert rows_there(life) == {"r1", "r2"}
    assert life.handed.access == "full"
    assert life.halves == {"a": "full"}
    assert len(life.secrets) == 1


@pytest.mark.long
@pytest.mark.parametrize("point", sliced(FORWARD, every=41))
def test_a_worker_that_died_anywhere_in_it_costs_the_service_nothing(
    life: Served, point: str
) -> None:
    service = Service(life)
    service.start()
    try:
        service.writes()
        run_id = approved(life.bench, isolation="bridge", max_freeze_s=20)
        life.bench.work_until_killed(run_id, point)
        assert resumed(life.bench, run_id).state in ("applied", "compensated")
        service.writes()
    finally:
        service.stop()
    assert_kept(life, service)


@pytest.mark.long
@pytest.mark.parametrize("point", sliced(BACKWARD, every=31))
def test_a_worker_that_died_anywhere_in_undoing_it_costs_the_service_nothing(
    life: Served, point: str
) -> None:
    service = Service(life)
    service.start()
    try:
        service.writes()
        run_id = approved(life.bench, isolation="silo", max_freeze_s=20)
        life.bench.work_until_killed(run_id, point, "move.settle.done")
        assert resumed(life.bench, run_id).state == "compensated"
        service.writes()
    finally:
        service.stop()
    assert_kept(life, service)
    assert life.handed.access == "full"
    assert len(life.secrets) == 1
