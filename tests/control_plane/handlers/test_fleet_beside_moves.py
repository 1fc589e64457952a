"""A change of all tenants while one of them moves out of tables that it shares, or into such: they wait, and both come to be whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Integer, String, column, insert, select, table

from control_plane.domain.campaign import Campaign, place_of
from control_plane.domain.home import Home
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.domain.run_record import Run
from control_plane.handlers import fleet_migration_steps
from control_plane.handlers.registry import failpoint_names
from tests.support.approval_world import TENANT
from tests.support.fleet_bench import FleetBench, fleet_bench
from tests.support.fleet_files import first, header
from tests.support.lifecycle_bench import Bench
from tests.support.moving import approved, databases, resumed
from tests.support.offboarding import found, records, unvouched

OTHERS = ("t00000", "t00001", "t00002")
SHARED: Isolation = "pooled"
NEIGHBOUR = OTHERS[ISOLATIONS.index(SHARED)]
ALONE = OTHERS[ISOLATIONS.index("bridge")]
WAITS = 2
NOTE = table(
    "note",
    *(column(one, String) for one in ("tenant_id", "id", "body")),
    *(column(one, Integer) for one in ("rank", "size")),
)
RANKS = {"1": 3, "2": 5}
SIZED = header() + "ALTER TABLE note ADD COLUMN size int;\nUPDATE note SET size = rank * 2;\n"
# Where a move leads, by where it begins.
WAYS: dict[str, tuple[Isolation, Isolation]] = {
    "out": ("pooled", "bridge"),
    "in": ("bridge", "pooled"),
}
# The worker that carries the move was killed there: the tenant is in the move's hands.
POINTS = [
    one
    for one in failpoint_names()
    if one.startswith("move.") and ".undo_" not in one and not one.startswith("move.begin.")
]
SOME = {("out", "move.copy.done"), ("in", "move.settle.recorded")}
CASES = [
    (way, point) if (way, point) in SOME else pytest.param(way, point, marks=pytest.mark.sweep)
    for way in WAYS
    for point in POINTS
]


@dataclass
class Seen:
    """What a campaign's worker found each time that it had nobody left but those who share tables."""

    shared: list[list[int]] = field(default_factory=list[list[int]])
    alone: list[list[int]] = field(default_factory=list[list[int]])


@pytest.fixture
def fleet(bench: Bench) -> FleetBench:
    """`acme` with records, beside a neighbour in the same tables, and rows of the team's."""
    made = fleet_bench(bench)
    made.tenants(len(OTHERS))
    made.declare(first(2))
    assert made.carried().state == "applied"
    for tenant in (TENANT, NEIGHBOUR):
        write(made, tenant)
    records(made.bench, 2)
    made.declare({**first(3), "0004_sized.sql": SIZED.encode()})
    return made


def write(fleet: FleetBench, tenant: str) -> None:
    """Rows of the team's, where the tenant stands."""
    standing = fleet.world.tenant(tenant)
    assert standing is not None
    rows = [{"tenant_id": tenant, "id": key, "rank": rank} for key, rank in RANKS.items()]
    engine = fleet.world.ports.databases.at(standing.home)
    with engine.transaction(tenant, standing.isolation) as connection:
        connection.execute(insert(NOTE), rows)


def sizes(fleet: FleetBench, tenant: str, home: Home) -> dict[str, int]:
    """What the last migration has made of them there."""
    wanted = select(NOTE.c.id, NOTE.c.size).where(NOTE.c.tenant_id == tenant)
    engine = fleet.world.ports.databases.at(home)
    with engine.reading(tenant, home.isolation) as connection:
        return {one.id: one.size for one in connection.execute(wanted)}


def stand_in(fleet: FleetBench, model: Isolation) -> None:
    """The tenant stands in that model, and has left nothing in another."""
    if fleet.bench.tenant.isolation == model:
        return
    assert resumed(fleet.bench, approved(fleet.bench, isolation=model)).state == "applied"
    left = databases(fleet.bench)["former"]
    last = approved(fleet.bench, "tenant_move_finalise", database=left.id)
    assert resumed(fleet.bench, last).state == "applied"


def carried_beside(
    fleet: FleetBench, campaign: Run, end: Callable[[], object], patched: pytest.MonkeyPatch
) -> Seen:
    """A campaign carried out whose worker waits twice, and then sees what it waits for come to its end."""
    seen, waits = Seen(), fleet_migration_steps.Carrier._wait

    def wait(self: fleet_migration_steps.Carrier, standing: Campaign) -> None:
        seen.shared.append(fleet.have(NEIGHBOUR, SHARED))
        seen.alone.append(fleet.have(ALONE, "bridge"))
        if len(seen.shared) == WAITS:
            end()
        waits(self, standing)

    patched.setattr(fleet_migration_steps, "_PAUSE_S", 0.0)
    patched.setattr(fleet_migration_steps.Carrier, "_wait", wait)
    run = fleet.bench.work(campaign.id)
    assert run.state == "applied", (
        run,
        [one for one in fleet.receipts().values() if one.state != "done"],
    )
    assert fleet.campaign.state == "done"
    return seen


def assert_whole(fleet: FleetBench) -> None:
    """Every database has every migration and each row, and a receipt that says so."""
    acme = [(TENANT, one.home) for one in databases(fleet.bench).values()]
    others = [(one, Home(model)) for one, model in zip(OTHERS, ISOLATIONS, strict=True)]
    for tenant, home in (*acme, *others):
        assert fleet.have(tenant, home.isolation) == [1, 2, 3, 4], (tenant, home)
        assert fleet.receipts()[tenant, place_of(home), 4].state == "done"
    doubled = {key: rank * 2 for key, rank in RANKS.items()}
    assert sizes(fleet, TENANT, fleet.bench.tenant.home) == doubled
    assert sizes(fleet, NEIGHBOUR, Home(SHARED)) == doubled
    assert len(found(fleet.bench)) == 2
    assert fleet.bench.create()["outcome"] == "done"
    # The others were never onboarded, and nothing vouches for them.
    assert not [one for one in unvouched(fleet.bench) if one[1] not in OTHERS]


@pytest.mark.long_but_one
@pytest.mark.parametrize(("way", "point"), CASES)
def test_shared_tables_are_changed_once_nobody_is_on_the_way_out_of_them_or_into_them(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch, way: str, point: str
) -> None:
    start, end = WAYS[way]
    stand_in(fleet, start)
    move = approved(fleet.bench, isolation=end)
    campaign = fleet.approved()
    fleet.bench.work_until_killed(move, point)
    moved: list[Run] = []
    seen = carried_beside(
        fleet, campaign, lambda: moved.append(resumed(fleet.bench, move)), monkeypatch
    )
    # Who shares nothing had it all the while; the others had it no sooner than that.
    assert (seen.alone, seen.shared) == ([[1, 2, 3, 4]] * WAITS, [[1, 2]] * WAITS)
    assert [one.state for one in moved] == ["applied"]
    assert fleet.bench.tenant.home == Home(end)
    assert_whole(fleet)


@pytest.mark.long
@pytest.mark.parametrize("way", ["out", pytest.param("in", marks=pytest.mark.sweep)])
def test_a_move_that_is_taken_back_lets_go_of_shared_tables_too(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    start, end = WAYS[way]
    stand_in(fleet, start)
    move = approved(fleet.bench, isolation=end)
    campaign = fleet.approved()
    fleet.bench.work_until_killed(move, "move.copy.done")
    moved: list[Run] = []

    def take_back() -> None:
        moved.append(resumed(fleet.bench, move, "move.cutover.before"))

    seen = carried_beside(fleet, campaign, take_back, monkeypatch)
    assert seen.shared == [[1, 2]] * WAITS
    assert [one.state for one in moved] == ["compensated"]
    assert fleet.bench.tenant.home == Home(start)
    assert_whole(fleet)
