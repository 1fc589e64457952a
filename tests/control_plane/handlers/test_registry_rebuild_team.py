"""What is recovered of the rows of a team's own tables where our own store is lost: by archives alone, and where they stand."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Integer, String, column, insert, select, table

from control_plane.domain.home import Home
from control_plane.ports import Catalogs
from policies.gate import Gate
from server.registry_wiring import Registry
from tests.control_plane.handlers.test_registry_rebuild import lost, surveyed, tenants
from tests.control_plane.handlers.test_team_rows_travel import Kept
from tests.support.approval_world import APPROVER, TENANT
from tests.support.fleet_bench import FleetBench, fleet_bench
from tests.support.fleet_files import first, header
from tests.support.lifecycle_bench import ADMIN, Bench, Onboarded, make_bench
from tests.support.offboarding import offboard, records

NOTE = table(
    "note",
    *(column(one, String) for one in ("tenant_id", "id", "body", "title")),
    column("rank", Integer),
)
OTHER = header() + "ALTER TABLE note ADD COLUMN other text;\n"
WRITTEN = {"1": ("Hello", 3), "2": ("é\n", 5)}


@pytest.fixture
def fleet(bench: Bench) -> FleetBench:
    """`acme` with records, two migrations, and rows of the team's."""
    made = fleet_bench(bench)
    made.declare(first(2))
    assert made.carried().state == "applied"
    records(made.bench, 2)
    home = made.bench.tenant.home
    rows = [
        {"tenant_id": TENANT, "id": key, "body": body, "rank": rank, "title": body.lower()}
        for key, (body, rank) in WRITTEN.items()
    ]
    with made.world.ports.databases.at(home).transaction(TENANT, home.isolation) as connection:
        connection.execute(insert(NOTE), rows)
    return made


def declaring(fleet: FleetBench, folder: Path, files: Mapping[str, bytes]) -> Path:
    """The workspace's catalog with these migrations."""
    shutil.copytree(fleet.world.workspace.catalog, folder)
    (folder / "migrations").mkdir()
    for name, content in files.items():
        (folder / "migrations" / name).write_bytes(content)
    return folder


def again(fleet: FleetBench, registry: Registry, folder: Path, gate: Gate) -> FleetBench:
    """A bench over what was rebuilt."""
    before = fleet.world.template
    template = replace(before, workspace=registry._workspace)
    made = make_bench(Onboarded(template, {}), folder, gate)
    made.world.grant(ADMIN, "platform_admin", actor="pam-bot")
    made.world.grant(APPROVER, "approver")
    made.world.enrol(APPROVER, before.approver_seed)
    # What was declared before is kept with the state.
    ports = replace(made.world.ports, catalogs=cast("Catalogs", Kept(fleet)))
    return fleet_bench(Bench(made.world.with_ports(ports)))


def written(fleet: FleetBench, home: Home) -> dict[str, tuple[str, int]]:
    """The tenant's rows there."""
    wanted = select(NOTE.c.id, NOTE.c.body, NOTE.c.rank).where(NOTE.c.tenant_id == TENANT)
    engine = fleet.world.ports.databases.at(home)
    with engine.reading(TENANT, home.isolation) as connection:
        return {key: (body, rank) for key, body, rank in connection.execute(wanted)}


@pytest.mark.long
def test_what_is_in_an_archive_alone_is_proven_and_comes_back(
    fleet: FleetBench, gate: Gate, tmp_path: Path
) -> None:
    offboard(fleet.bench)
    registry = lost(fleet.bench, declaring(fleet, tmp_path / "catalog", first(2)))
    _, (revived,) = surveyed(registry)
    (kept,) = revived.backups
    assert (revived.tenant.state, kept.verified_at is None) == ("deprovisioned", False)
    contents: Any = kept.contents
    assert contents["tables"]["note"]["rows"] == len(WRITTEN)
    assert set(contents["team"]["migrations"]) == {"0001_notes", "0002_titles"}
    registry.close()
    rebuilt = again(fleet, registry, tmp_path / "again", gate)
    rebuilt.bench.do("tenant_restore", ADMIN)
    assert rebuilt.have(TENANT, "pooled") == [1, 2]
    assert written(rebuilt, rebuilt.bench.tenant.home) == WRITTEN
    rebuilt.world.close()


@pytest.mark.long
def test_where_no_database_is_left_a_campaign_goes_before_the_restoring(
    fleet: FleetBench, gate: Gate, tmp_path: Path
) -> None:
    offboard(fleet.bench)
    shutil.rmtree(fleet.world.workspace.data)
    registry = lost(fleet.bench, declaring(fleet, tmp_path / "catalog", first(2)))
    surveyed(registry)
    registry.close()
    rebuilt = again(fleet, registry, tmp_path / "again", gate)
    # Nobody remembers a campaign: no migration is in force, and the archive's are not those.
    run = rebuilt.bench.work(rebuilt.bench.propose("tenant_restore", ADMIN))
    assert (run.state, run.reason) == ("compensated", "migrations_differ")
    assert rebuilt.carried().state == "applied"
    rebuilt.bench.do("tenant_restore", ADMIN)
    assert written(rebuilt, rebuilt.bench.tenant.home) == WRITTEN
    rebuilt.world.close()


@pytest.mark.long_but_one
@pytest.mark.parametrize("files", [{}, {**first(1), "0002_titles.sql": OTHER.encode()}])
def test_what_other_migrations_have_made_is_registered_and_not_proven(
    fleet: FleetBench, tmp_path: Path, files: dict[str, bytes]
) -> None:
    offboard(fleet.bench)
    registry = lost(fleet.bench, declaring(fleet, tmp_path / "catalog", files))
    _, (revived,) = surveyed(registry)
    assert [one.verified_at for one in revived.backups] == [None]
    registry.close()


@pytest.mark.long
def test_where_they_stand_nothing_of_them_is_touched_and_a_campaign_finds_them_done(
    fleet: FleetBench, gate: Gate, tmp_path: Path
) -> None:
    fleet.bench.do("database_backup")
    registry = lost(fleet.bench, declaring(fleet, tmp_path / "catalog", first(3)))
    _, (revived,) = surveyed(registry)
    assert (revived.tenant.state, len(revived.backups)) == ("suspended", 1)
    assert [one.id for one in tenants(registry)] == [TENANT]
    registry.close()
    rebuilt = again(fleet, registry, tmp_path / "again", gate)
    home = rebuilt.bench.tenant.home
    assert (rebuilt.have(TENANT, "pooled"), written(rebuilt, home)) == ([1, 2], WRITTEN)
    # Nobody remembers the campaigns: the next one begins with the first, and does what is missing.
    assert rebuilt.carried().state == "applied"
    assert (rebuilt.campaign.first, rebuilt.campaign.last) == (1, 3)
    assert (rebuilt.have(TENANT, "pooled"), written(rebuilt, home)) == ([1, 2, 3], WRITTEN)
    rebuilt.world.close()
