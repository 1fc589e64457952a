"""Rows of the team's own tables, wherever their tenant goes: as its records do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest
from sqlalchemy import Integer, String, column, insert, select, table, update

from control_plane.data.collection import Collection
from control_plane.domain.home import Home
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed
from control_plane.fleet.scratch import lead
from control_plane.handlers import fleet_migration_steps
from control_plane.ports import Catalogs
from tests.control_plane.handlers.test_database_restore import backed_up, databases, restored
from tests.support.approval_world import TENANT
from tests.support.fleet_bench import FleetBench, fleet_bench
from tests.support.fleet_files import first, header
from tests.support.lifecycle_bench import Bench
from tests.support.moving import approved, meanwhile, resumed
from tests.support.offboarding import offboard, parts
from tests.support.slices import sliced

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NOTE = table(
    "note",
    *(column(one, String) for one in ("tenant_id", "id", "body", "title")),
    column("rank", Integer),
)
LOADING = [
    f"restore.{step}.{point}"
    for step in ("database", "load", "verify")
    for point in ("before", "dispatched", "done", "recorded")
]
WRITTEN = {"1": ("Hello", 1, "hello"), "2": ("é\n", 2, "none")}


@pytest.fixture
def fleet(bench: Bench) -> FleetBench:
    """`acme` with a neighbour in the same tables, two migrations, and rows of the team's."""
    made = fleet_bench(bench)
    made.tenants(3)
    made.declare(first(2))
    made.carried()
    write(made)
    return made


class Kept:
    """The catalogs of before, whose collections are those of now."""

    def __init__(self, fleet: FleetBench) -> None:
        self._collections = tuple(fleet.world.ports.catalog.collections.values())

    def collections(self, _: str) -> Sequence[Collection]:
        """The collections of any of them."""
        return self._collections

    def leaving(self) -> bool:
        """Nobody is to make room for another."""
        return False


def declare(fleet: FleetBench, files: Mapping[str, bytes]) -> None:
    """Put more migrations in force, and carry them out everywhere."""
    fleet.declare(files)
    world = fleet.world
    ports = replace(world.ports, catalogs=cast("Catalogs", Kept(fleet)))
    fleet.bench = replace(fleet.bench, world=world.with_ports(ports))
    assert fleet.carried().state == "applied"


def write(fleet: FleetBench) -> None:
    home = fleet.bench.tenant.home
    rows = [
        {"tenant_id": TENANT, "id": key, "body": body, "rank": rank, "title": title}
        for key, (body, rank, title) in WRITTEN.items()
    ]
    engine = fleet.world.ports.databases.at(home)
    with engine.transaction(TENANT, home.isolation) as connection:
        connection.execute(insert(NOTE), rows)


def written(fleet: FleetBench) -> dict[str, tuple[str, int, str]]:
    """The tenant's rows where it stands."""
    home = fleet.bench.tenant.home
    engine = fleet.world.ports.databases.at(home)
    wanted = select(NOTE.c.id, NOTE.c.body, NOTE.c.rank, NOTE.c.title)
    with engine.reading(TENANT, home.isolation) as connection:
        found = connection.execute(wanted.where(NOTE.c.tenant_id == TENANT))
        return {key: (body, rank, title) for key, body, rank, title in found}


def rename(fleet: FleetBench, title: str) -> None:
    """Somebody changes a row past us."""
    home = fleet.bench.tenant.home
    engine = fleet.world.ports.databases.at(home)
    with engine.transaction(TENANT, home.isolation) as connection:
        mine = update(NOTE).where(NOTE.c.tenant_id == TENANT, NOTE.c.id == "2")
        connection.execute(mine.values(title=title))


def test_a_tenant_that_is_moved_takes_them_along(fleet: FleetBench) -> None:
    run_id = approved(fleet.bench, isolation="bridge")
    acts = {
        "move.copy.done": lambda: rename(fleet, "copied"),
        "move.follow.done": lambda: rename(fleet, "followed"),
    }
    run = meanwhile(fleet.bench, run_id, acts)
    assert run.state == "applied", run
    assert fleet.bench.tenant.home == Home("bridge")
    assert written(fleet) == {**WRITTEN, "2": ("é\n", 2, "followed")}
    assert fleet.have(TENANT, "bridge") == [1, 2]
    assert resumed(fleet.bench, approved(fleet.bench, isolation="silo")).state == "applied"
    assert written(fleet) == {**WRITTEN, "2": ("é\n", 2, "followed")}


@pytest.mark.long
def test_a_tenant_that_is_behind_is_brought_up_before_it_moves(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.declare(first(3))
    run = fleet.approved()

    def stop(self: fleet_migration_steps.Carrier, _: object) -> bool:
        self._moved(self.campaign(), "pause")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(fleet_migration_steps, "CHUNK", 1)
        patched.setattr(fleet_migration_steps.Carrier, "_heed", stop)
        fleet.bench.work(run.id)
    assert fleet.have(TENANT, "pooled") == [1, 2]
    assert resumed(fleet.bench, approved(fleet.bench, isolation="bridge")).state == "applied"
    assert fleet.have(TENANT, "pooled") == fleet.have(TENANT, "bridge") == [1, 2, 3]
    assert written(fleet) == WRITTEN
    assert fleet.carried().state == "applied"
    assert fleet.campaign.state == "done"


@pytest.mark.long
def test_a_backup_brings_them_back_and_its_plan_tells_of_them(fleet: FleetBench) -> None:
    backup, _ = backed_up(fleet.bench, 1)
    rename(fleet, "changed")
    run = restored(fleet.bench, backup=backup)
    assert parts(run)["data"]["tables"]["note"] == {"now": 2, "then": 2}
    assert written(fleet) == WRITTEN
    former = databases(fleet.bench)["former"]["database"]
    restored(fleet.bench, former=former)
    assert written(fleet) == {**WRITTEN, "2": ("é\n", 2, "changed")}


@pytest.mark.long
def test_rows_of_before_a_migration_come_back_as_it_would_have_left_them(
    fleet: FleetBench,
) -> None:
    backup, _ = backed_up(fleet.bench, 1)
    more = header() + "ALTER TABLE note ADD COLUMN size int;\nUPDATE note SET size = rank * 2;\n"
    declare(fleet, {**first(3), "0004_sized.sql": more.encode()})
    restored(fleet.bench, backup=backup)
    home = fleet.bench.tenant.home
    assert fleet.have(TENANT, "pooled") == [1, 2, 3, 4]
    sized = table(
        "note", column("tenant_id", String), column("id", String), column("size", Integer)
    )
    engine = fleet.world.ports.databases.at(home)
    with engine.reading(TENANT, home.isolation) as connection:
        found = connection.execute(
            select(sized.c.id, sized.c.size).where(sized.c.tenant_id == TENANT)
        )
        assert {one.id: one.size for one in found} == {"1": 2, "2": 4}
    assert written(fleet) == WRITTEN


@pytest.mark.long
def test_a_tenant_that_was_offboarded_is_restored_with_them(fleet: FleetBench) -> None:
    run = offboard(fleet.bench)
    assert parts(run)["data"]["team_rows"] == {"note": 2}
    declare(fleet, first(3))
    fleet.bench.do("tenant_restore")
    assert written(fleet) == WRITTEN
    assert fleet.have(TENANT, "pooled") == [1, 2, 3]


def gone_from(fleet: FleetBench, model: Isolation) -> None:
    """Have the tenant offboarded from a database of its own."""
    assert resumed(fleet.bench, approved(fleet.bench, isolation=model)).state == "applied"
    former = databases(fleet.bench)["former"]
    assert (
        resumed(
            fleet.bench, approved(fleet.bench, "tenant_move_finalise", database=former["database"])
        ).state
        == "applied"
    )
    offboard(fleet.bench)


@pytest.mark.long_but_one
@pytest.mark.parametrize("model", ["bridge", "silo"])
def test_they_come_back_into_a_database_that_is_made_anew(
    fleet: FleetBench, model: Isolation
) -> None:
    gone_from(fleet, model)
    declare(fleet, first(3))
    asks = model == "silo"
    run_id = (
        approved(fleet.bench, "tenant_restore") if asks else fleet.bench.propose("tenant_restore")
    )
    assert resumed(fleet.bench, run_id).state == "applied"
    assert written(fleet) == WRITTEN
    assert fleet.have(TENANT, model) == [1, 2, 3]


@pytest.mark.long
@pytest.mark.parametrize("point", sliced(LOADING, every=4))
def test_a_worker_that_died_over_it_has_another_bring_them_back(
    fleet: FleetBench, point: str
) -> None:
    gone_from(fleet, "bridge")
    run_id = fleet.bench.propose("tenant_restore")
    fleet.bench.work_until_killed(run_id, point)
    assert fleet.bench.work(run_id).state == "applied"
    assert written(fleet) == WRITTEN
    assert fleet.have(TENANT, "bridge") == [1, 2]


@pytest.mark.long
def test_a_copy_has_the_tables_and_none_of_the_rows(fleet: FleetBench) -> None:
    fleet.bench.do("database_clone")
    told = databases(fleet.bench)["clone"]
    home = Home(told["isolation"], told["server"], told["slot"])
    engine = fleet.world.ports.databases.at(home)
    with engine.reading(TENANT, home.isolation) as connection:
        found = connection.execute(select(NOTE.c.id).where(NOTE.c.tenant_id == TENANT))
        assert found.all() == []
    assert written(fleet) == WRITTEN


def test_migrations_that_are_not_declared_are_led_nowhere(fleet: FleetBench) -> None:
    home = fleet.bench.tenant.home
    engine = fleet.world.ports.databases.at(home)
    with engine.scratch(TENANT, home.isolation, ()) as scratch, pytest.raises(Failed) as caught:
        lead(scratch, fleet.world.ports.catalog.migrations, set(), {"0001_other": "0" * 64}, NOW)
    assert caught.value.code == "migrations_differ"
