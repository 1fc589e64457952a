"""A change of all tenants by the team's migrations: canary, wave, rest; halted, paused, killed and taken up again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Integer, String, column, delete, insert, table

from control_plane.domain.home import Home
from control_plane.domain.run_record import Run
from control_plane.handlers import fleet_migration_steps
from control_plane.handlers.registry import failpoint_names
from tests.support.approval_world import OTHER
from tests.support.fleet_bench import FleetBench, fleet_bench
from tests.support.fleet_files import FILES, first, header
from tests.support.lifecycle_bench import Bench

POINTS = [
    one for one in failpoint_names() if one.startswith("fleet_migration.") and ".undo_" not in one
]


@pytest.fixture
def fleet(bench: Bench) -> FleetBench:
    """Four tenants, in every model, and three migrations for them; `acme` is one of them."""
    made = fleet_bench(bench)
    made.tenants(3)
    made.declare(first(3))
    return made


def everybody(fleet: FleetBench, numbers: list[int]) -> None:
    """Every tenant's database says so itself, and every receipt is there once."""
    receipts = fleet.receipts()
    places = {(tenant, place.split(".")[1]) for tenant, place, _ in receipts}
    assert len(places) == 4
    for tenant, model in places:
        assert fleet.have(tenant, model) == numbers
        mine = [one for one in receipts.values() if one.tenant == tenant]
        assert [one.number for one in sorted(mine, key=lambda one: one.number)] == numbers
        assert {one.state for one in mine} == {"done"}
        assert {one.attempts for one in mine} == {1}


def test_every_tenant_comes_to_the_same_migration_a_canary_first(fleet: FleetBench) -> None:
    run = fleet.carried()
    assert run.state == "applied", run
    campaign = fleet.campaign
    assert (campaign.state, campaign.first, campaign.last) == ("done", 1, 3)
    everybody(fleet, [1, 2, 3])
    told = fleet.ask("fleet_migration_status", tenant="t00001")["result"]
    assert (told["databases"], told["done"], told["failed"]) == (4, 4, 0)
    assert told["tenant"]["drifted"] is False
    assert [one["state"] for one in told["tenant"]["receipts"]] == ["done"] * 3
    assert fleet.ask("fleet_migration_start")["code"] == "nothing_to_migrate"


def test_the_plan_shows_who_and_what_and_waits_for_another_person(fleet: FleetBench) -> None:
    run = fleet.planned(failures_max=2)
    part = part_of(run)
    assert part["databases"] == 4
    assert part["stages"] == {"canary": 1, "wave": 1, "rest": 2}
    assert [one["name"] for one in part["migrations"]] == [
        "0001_notes",
        "0002_titles",
        "0003_by_title",
    ]
    assert run.plan_facts is not None
    assert run.plan_facts["changes_rows"] is True
    assert run.plan_facts["non_transactional"] == 1
    # Who shares tables comes last: there one turn is everybody's.
    shown = [one.split(" ")[1] for one in part["order"]["shown"]]
    assert shown[-2:] == ["main.pooled.0"] * 2
    assert "main.pooled.0" not in shown[:-2]
    assert fleet.receipts() == {}


def test_a_dry_run_changes_nothing(fleet: FleetBench) -> None:
    asked = fleet.ask("fleet_migration_start", dry_run=True)
    run = fleet.bench.work(asked["run_id"])
    assert (run.state, run.reason) == ("discarded", "dry_run")
    assert fleet.receipts() == {}


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_is_followed_by_one_that_goes_on(fleet: FleetBench, point: str) -> None:
    run = fleet.approved()
    fleet.bench.work_until_killed(run.id, point)
    assert fleet.bench.work(run.id).state == "applied"
    assert fleet.campaign.state == "done"
    everybody(fleet, [1, 2, 3])


@pytest.mark.long
def test_it_rests_where_somebody_asks_for_it_and_is_taken_up(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_migration_steps, "CHUNK", 1)
    heard = fleet_migration_steps.Carrier._heed
    asked: list[str] = []

    def ask_once(self: fleet_migration_steps.Carrier, found: object) -> bool:
        if not asked:
            told = fleet.ask("fleet_migration_pause")
            asked.append(told["outcome"])
            assert told["result"]["asked"] == "pause"
        return heard(self, found)  # type: ignore[arg-type]

    run = fleet.approved()
    monkeypatch.setattr(fleet_migration_steps.Carrier, "_heed", ask_once)
    assert fleet.bench.work(run.id).state == "applied"
    assert asked == ["done"]
    paused = fleet.campaign
    assert (paused.state, paused.asked) == ("paused", "")
    done = Counter(one.state for one in fleet.receipts().values())["done"]
    assert done == 3
    monkeypatch.setattr(fleet_migration_steps.Carrier, "_heed", heard)
    assert fleet.ask("fleet_migration_start", through=2)["code"] == "fleet_migration_open"
    assert fleet.carried().state == "applied"
    assert (fleet.campaign.id, fleet.campaign.state) == (paused.id, "done")
    everybody(fleet, [1, 2, 3])


@pytest.mark.long
def test_one_that_rests_can_be_aborted_and_a_later_one_finds_who_is_done(
    fleet: FleetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_migration_steps, "CHUNK", 1)
    run = fleet.approved()

    def stop(self: fleet_migration_steps.Carrier, _: object) -> bool:
        self._moved(self.campaign(), "pause")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(fleet_migration_steps.Carrier, "_heed", stop)
        fleet.bench.work(run.id)
    assert fleet.ask("fleet_migration_abort")["result"]["state"] == "aborted"
    assert fleet.ask("fleet_migration_abort")["outcome"] == "not_found"
    assert fleet.carried().state == "applied"
    assert fleet.campaign.state == "done"
    everybody(fleet, [1, 2, 3])


@pytest.mark.long
def test_a_canary_that_fails_halts_it_and_nobody_else_was_touched(fleet: FleetBench) -> None:
    text = header() + "ALTER TABLE note ADD COLUMN n int;\nUPDATE note SET rank = NULL;\n"
    fleet.declare({**first(1), "0002_wrong.sql": text.encode()})
    fleet.carried(through=1)
    canary = fleet_order(fleet)[0]
    write_note(fleet, *canary)
    run = fleet.carried(failures_max=5)
    assert (run.state, run.reason) == ("failed", "residue")
    assert "fleet_halted" in run.detail
    assert fleet.campaign.state == "halted"
    told = fleet.ask("fleet_migration_status")["result"]
    assert [(one["tenant"], one["code"]) for one in told["failures"]] == [(canary[0], "constraint")]
    assert told["failures"][0]["detail"].startswith("0002_wrong.sql:")
    assert (told["done"], told["failed"]) == (0, 1)
    states = Counter(one.state for one in fleet.receipts().values() if one.number == 2)
    assert states == {"failed": 1}
    # Once the row is out of the way, the same campaign goes on.
    write_note(fleet, *canary, remove=True)
    assert fleet.carried().state == "applied"
    assert fleet.ask("fleet_migration_status")["result"]["state"] == "done"


@pytest.mark.long
def test_a_budget_lets_it_go_on_but_never_to_its_end(fleet: FleetBench) -> None:
    text = header() + "ALTER TABLE note ADD COLUMN n int;\nUPDATE note SET rank = NULL;\n"
    fleet.declare({**first(1), "0002_wrong.sql": text.encode()})
    fleet.carried(through=1)
    failing = fleet_order(fleet)[1]
    write_note(fleet, *failing)
    assert fleet.carried(failures_max=1).state == "failed"
    told = fleet.ask("fleet_migration_status")["result"]
    assert (told["state"], told["done"], told["failed"]) == ("halted", 3, 1)


def test_a_contract_waits_until_its_expand_stands_everywhere(fleet: FleetBench) -> None:
    fleet.declare(dict(FILES))
    assert fleet.ask("fleet_migration_start", through=4)["code"] == "expand_not_everywhere"
    fleet.carried()
    assert fleet.campaign.last == 3
    fleet.carried()
    assert (fleet.campaign.first, fleet.campaign.last) == (4, 4)
    everybody(fleet, [1, 2, 3, 4])


@pytest.mark.long
def test_who_comes_meanwhile_comes_with_what_is_in_force(fleet: FleetBench) -> None:
    fleet.carried()
    run = fleet.world.work(fleet.world.propose(OTHER, isolation="bridge"))
    if run.state == "awaiting_approval":
        fleet.world.answer(run)
        run = fleet.world.work(run.id)
    assert run.state == "applied", run
    assert fleet.have(OTHER, "bridge") == [1, 2, 3]
    mine = [one for one in fleet.receipts().values() if one.tenant == OTHER]
    assert [one.state for one in mine] == ["done"] * 3


@pytest.mark.long
def test_a_tenant_that_is_shut_is_migrated_too(fleet: FleetBench) -> None:
    fleet.bench.do("tenant_suspend", reason="operator")
    assert fleet.carried().state == "applied"
    everybody(fleet, [1, 2, 3])
    assert fleet.bench.tenant.state == "suspended"


def part_of(run: Run) -> Any:
    """What the run's plan shows of the fleet."""
    plan: Any = run.plan
    return plan["parts"]["fleet"]


def fleet_order(fleet: FleetBench) -> list[tuple[str, str]]:
    """The tenants of the next campaign in its order, with their models."""
    asked = fleet.ask("fleet_migration_start", dry_run=True)
    run = fleet.bench.work(asked["run_id"])
    shown = part_of(run)["order"]["shown"]
    return [(one.split(" ")[0], one.split(".")[1]) for one in shown]


def write_note(fleet: FleetBench, tenant: str, model: str, *, remove: bool = False) -> None:
    """One row in the team's table, or none."""
    note = table("note", column("tenant_id", String), column("id", String), column("rank", Integer))
    engine = fleet.world.ports.databases.at(Home(model))  # type: ignore[arg-type]
    with engine.transaction(tenant, model) as connection:  # type: ignore[arg-type]
        if remove:
            connection.execute(delete(note).where(note.c.tenant_id == tenant))
        else:
            connection.execute(insert(note).values(tenant_id=tenant, id="1", rank=1))
