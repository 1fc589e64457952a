"""A tenant's data brought back beside what stands: what is lost, what is kept, and what a run that ends before leaves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.run_record import Run
from control_plane.handlers.registry import failpoint_names
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import backups, found, lift, offboard, parts, records, unvouched
from tests.support.slices import sliced

POINTS = [one for one in failpoint_names() if one.startswith("database_restore.")]
UNDONE = ".undo_"


def backed_up(bench: Bench, count: int) -> tuple[str, list[dict[str, Any]]]:
    """A backup of so many records; its id, and the records."""
    had = records(bench, count)
    run = bench.do("database_backup")
    return next(one.id for one in backups(bench) if one.run_id == run.id), had


def approved(bench: Bench, **asked: Any) -> str:
    """A restore that was approved and not begun; its id."""
    run = bench.work(bench.propose("database_restore", **asked))
    assert run.state == "awaiting_approval", run
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    return run.id


def restored(bench: Bench, **asked: Any) -> Run:
    """A restore that was carried out."""
    run = bench.work(approved(bench, **asked))
    assert run.state == "applied", run
    return run


def databases(bench: Bench) -> dict[str, dict[str, Any]]:
    """The tenant's databases by what they are for."""
    told = bench.ask("database_list", tenant=TENANT)["result"]["databases"]
    assert len({one["purpose"] for one in told}) == len(told)
    return {one["purpose"]: one for one in told}


def assert_stands(bench: Bench, had: list[dict[str, Any]]) -> None:
    """The tenant is in service where it stood, with its rows, and nothing stands beside it."""
    told = databases(bench)
    assert list(told) == ["serving"]
    assert (told["serving"]["state"], told["serving"]["slot"], bench.tenant.slot) == (
        "available",
        0,
        0,
    )
    assert found(bench) == had
    assert bench.create()["outcome"] == "done"
    assert unvouched(bench) == []
    for slot in range(1, 3):
        home = bench.tenant.home._replace(slot=slot)
        assert not bench.world.ports.databases.at(home).exists(TENANT, home.isolation)


def test_what_was_written_since_is_lost_and_what_was_left_is_kept(bench: Bench) -> None:
    backup, had = backed_up(bench, 2)
    records(bench, 3)
    run = restored(bench, backup=backup)
    assert found(bench) == had
    assert bench.create()["outcome"] == "done"
    told = databases(bench)
    assert set(told) == {"serving", "former"}
    assert (told["serving"]["slot"], told["former"]["slot"]) == (1, 0)
    assert {one["state"] for one in told.values()} == {"available"}
    until = bench.world.clock.now() + timedelta(days=7)
    assert told["former"]["kept_until"].startswith(until.strftime("%Y-%m-%d"))
    assert told["serving"]["kept_until"] is None
    assert parts(run)["data"] == {"tables": {"contacts": {"now": 5, "then": 2}}, "rows_lost": 3}
    assert (bench.standing, unvouched(bench)) == (("active", [], "full"), [])


def test_nobody_writes_to_what_was_left(bench: Bench) -> None:
    backup, _ = backed_up(bench, 1)
    restored(bench, backup=backup)
    engine = bench.world.ports.databases.main
    assert engine.open_at(TENANT, "pooled") is None
    serving = bench.world.ports.databases.at(bench.tenant.home)
    assert serving.open_at(TENANT, "pooled") == bench.data_epoch > 0


@pytest.mark.long
def test_one_goes_back_to_what_was_left_as_long_as_it_is_kept(bench: Bench) -> None:
    backup, _ = backed_up(bench, 1)
    had = records(bench, 2)
    restored(bench, backup=backup)
    records(bench, 1)
    former = databases(bench)["former"]["database"]
    restored(bench, former=former)
    assert found(bench) == had
    assert bench.create()["outcome"] == "done"
    told = databases(bench)
    assert (told["serving"]["database"], told["serving"]["slot"]) == (former, 0)
    assert told["former"]["slot"] == 1
    assert bench.tenant.slot == 0
    assert unvouched(bench) == []


def test_it_waits_for_a_human_whoever_asks(bench: Bench) -> None:
    backup, had = backed_up(bench, 1)
    for who in ("alice", "pam"):
        run = bench.work(bench.propose("database_restore", who, backup=backup))
        assert run.state == "awaiting_approval"
        bench.ask("run_cancel", who, run_id=run.id, idempotency_key=f"cancel-{who}")
        assert bench.work(run.id).state in ("canceled", "discarded")
    assert_stands(bench, had)


def test_only_what_was_proven_and_is_kept_is_restored(bench: Bench) -> None:
    backup, _ = backed_up(bench, 1)
    serving = databases(bench)["serving"]["database"]
    assert bench.refused("database_restore", backup="f" * 32) == "backup_not_verified"
    for asked in ("f" * 32, serving):
        assert bench.refused("database_restore", former=asked) == "former_not_kept"
    bench.do("tenant_suspend", reason="operator")
    assert bench.refused("database_restore", backup=backup) in ("tenant_state", "database_state")


@pytest.mark.parametrize("asked", [{}, {"backup": "f" * 32, "former": "f" * 32}])
def test_exactly_one_of_both_is_named(bench: Bench, asked: dict[str, str]) -> None:
    told = bench.bad_input("database_restore", tenant=TENANT, idempotency_key="restore-it", **asked)
    assert told == "arguments: must name either a backup or a former"


def test_while_it_is_being_put_in_place_nothing_is_written(bench: Bench) -> None:
    backup, _ = backed_up(bench, 1)
    run_id = approved(bench, backup=backup)
    bench.work_until_killed(run_id, "database_restore.freeze.recorded")
    refused = bench.create()
    assert (refused["outcome"], refused["code"]) == ("refused", "fenced")
    assert bench.query()["outcome"] == "done"
    assert bench.work(run_id).state == "applied"
    assert bench.create()["outcome"] == "done"


@pytest.mark.long
def test_a_tenant_that_goes_takes_what_was_left_with_it(bench: Bench) -> None:
    backup, _ = backed_up(bench, 1)
    restored(bench, backup=backup)
    offboard(bench)
    for slot in (0, 1):
        home = bench.tenant.home._replace(slot=slot)
        assert not bench.world.ports.databases.at(home).exists(TENANT, "pooled")
    lift(bench)
    bench.do("tenant_restore")
    assert len(found(bench)) == 1


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE not in one], every=12))
def test_one_that_was_killed_is_finished_by_the_next_worker(bench: Bench, point: str) -> None:
    backup, had = backed_up(bench, 1)
    records(bench, 1)
    run_id = approved(bench, backup=backup)
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert found(bench) == had
    assert bench.create()["outcome"] == "done"
    assert (len(databases(bench)), unvouched(bench)) == (2, [])


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE in one], every=9))
def test_one_that_failed_before_the_swap_leaves_what_was(bench: Bench, point: str) -> None:
    backup, _ = backed_up(bench, 1)
    had = records(bench, 1)
    run_id = approved(bench, backup=backup)
    bench.work_until_killed(run_id, point, "database_restore.swap.before")
    assert bench.work(run_id).state == "compensated"
    assert_stands(bench, had)


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE in one], every=13))
def test_going_back_that_failed_leaves_what_was(bench: Bench, point: str) -> None:
    backup, had = backed_up(bench, 1)
    restored(bench, backup=backup)
    before = databases(bench)
    run_id = approved(bench, former=before["former"]["database"])
    bench.work_until_killed(run_id, point, "database_restore.swap.before")
    assert bench.work(run_id).state == "compensated"
    kept = ("database", "slot", "state", "kept_until")
    assert [{name: one[name] for name in kept} for one in databases(bench).values()] == [
        {name: one[name] for name in kept} for one in before.values()
    ]
    assert bench.world.ports.databases.main.open_at(TENANT, "pooled") is None
    assert found(bench) == had
    assert bench.create()["outcome"] == "done"
