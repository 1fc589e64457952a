"""A backup while calls go on, to the end: what is archived, when it counts, and what is left where it fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.handlers.registry import failpoint_names
from graphs.errors import Unlisted
from tests.support.approval_world import OTHER, REQUESTER, TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench
from tests.support.offboarding import archives, backups, offboard, records, tamper, unvouched
from tests.support.slices import sliced

POINTS = [one for one in failpoint_names() if one.startswith("database_backup.")]
UNDONE = ".undo_"


def state(bench: Bench) -> str:
    """The state of the database that serves."""
    return str(bench.ask("database_get", tenant=TENANT)["result"]["state"])


def test_a_backup_counts_once_it_was_restored_on_trial(bench: Bench) -> None:
    records(bench, 3)
    run = bench.do("database_backup")
    (made,) = backups(bench)
    assert made.verified_at is not None
    assert archives(bench) == [made.id]
    (told,) = bench.ask("backup_list", tenant=TENANT)["result"]["backups"]
    assert (told["state"], told["records"], told["tables"]) == ("verified", 3, {"contacts": 3})
    assert (told["backup"], told["run_id"]) == (made.id, run.id)
    read = bench.ask("database_get", tenant=TENANT)["result"]
    assert read["verified_backup"]["backup"] == made.id
    assert read["state"] == "available"
    assert unvouched(bench) == []


def test_it_is_kept_for_as_long_as_its_plan_says(bench: Bench) -> None:
    bench.do("database_backup")
    (made,) = backups(bench)
    days = bench.world.ports.catalog.plans.offer("team").backups.keep_days
    assert days == 30
    kept = bench.world.clock.now() + timedelta(days=days)
    assert made.keep_until.startswith(kept.strftime("%Y-%m-%d"))


@pytest.mark.long
def test_several_stand_at_once_and_the_last_proven_is_the_one_to_restore(bench: Bench) -> None:
    for count in (1, 2):
        records(bench, 1)
        bench.do("database_backup")
        bench.world.clock.advance(timedelta(hours=count))
    # A clock that was set back makes no older one of the newest.
    bench.world.clock.advance(timedelta(hours=-3))
    records(bench, 1)
    run = bench.do("database_backup")
    told = bench.ask("backup_list", tenant=TENANT, verified=True)["result"]["backups"]
    assert sorted(one["records"] for one in told) == [1, 2, 3]
    newest = bench.ask("database_get", tenant=TENANT)["result"]["verified_backup"]
    assert newest["backup"] == next(one["backup"] for one in told if one["run_id"] == run.id)


def test_calls_go_on_meanwhile_and_are_none_of_it(bench: Bench) -> None:
    records(bench, 1)
    run_id = bench.propose("database_backup")
    bench.work_until_killed(run_id, "database_backup.backup.recorded")
    assert state(bench) == "backing_up"
    assert bench.create()["outcome"] == "done"
    assert bench.work(run_id).state == "applied"
    (told,) = bench.ask("backup_list", tenant=TENANT)["result"]["backups"]
    assert (told["state"], told["records"]) == ("verified", 1)


def test_what_does_not_restore_is_no_backup_and_does_not_stay(bench: Bench) -> None:
    records(bench, 1)
    run_id = bench.propose("database_backup")
    bench.work_until_killed(run_id, "database_backup.backup.recorded")
    tamper(bench, backups(bench)[0])
    run = bench.work(run_id)
    assert (run.state, "archive" in run.detail) == ("compensated", True)
    assert (state(bench), archives(bench)) == ("available", [])
    (told,) = bench.ask("backup_list", tenant=TENANT)["result"]["backups"]
    assert (told["state"], told["verified_at"]) == ("removed", None)
    assert bench.ask("database_get", tenant=TENANT)["result"]["verified_backup"] is None
    assert unvouched(bench) == []


@pytest.mark.long
def test_of_an_offboarded_tenant_they_are_told_as_well(bench: Bench) -> None:
    bench.do("database_backup")
    offboard(bench)
    told = bench.ask("backup_list", tenant=TENANT)["result"]["backups"]
    assert [one["state"] for one in told] == ["verified", "verified"]
    assert bench.ask("backup_list", tenant=OTHER)["outcome"] == "not_found"


@pytest.mark.long
def test_pages_hold_each_backup_once(bench: Bench) -> None:
    for _ in range(3):
        bench.do("database_backup")
        bench.world.clock.advance(timedelta(seconds=1))
    first = bench.ask("backup_list", tenant=TENANT, limit=2)["result"]
    second = bench.ask("backup_list", tenant=TENANT, limit=2, after=first["next_after"])["result"]
    seen = [one["backup"] for page in (first, second) for one in page["backups"]]
    assert len(set(seen)) == len(seen) == 3


def test_who_runs_no_tenants_asks_for_none(bench: Bench) -> None:
    asked = {"tenant": TENANT, "idempotency_key": fresh_key()}
    with pytest.raises(Unlisted):
        bench.ask("database_backup", SUPPORT, **asked)


@pytest.mark.long_but_one
@pytest.mark.parametrize("access", ["read_only", "none"])
@pytest.mark.parametrize("who", [REQUESTER, ADMIN])
def test_a_suspended_tenant_is_backed_up_and_stays_as_shut_as_it_was(
    bench: Bench, who: str, access: str
) -> None:
    records(bench, 2)
    bench.do("tenant_suspend", reason="operator", access=access)
    bench.do("database_backup", who)
    (told,) = bench.ask("backup_list", tenant=TENANT)["result"]["backups"]
    assert (told["state"], told["records"]) == ("verified", 2)
    assert (state(bench), bench.open_at) == ("stopped", None)
    assert bench.standing == ("suspended", ["operator"], access)
    # Of its rows nobody is told more than before.
    answered = bench.query()["outcome"]
    assert answered == ("refused" if access == "none" else "done")
    assert bench.create()["outcome"] == "refused"
    assert unvouched(bench) == []
    bench.do("tenant_resume", reason="operator")
    assert (state(bench), bench.create()["outcome"]) == ("available", "done")


@pytest.mark.long
def test_what_was_backed_up_while_suspended_is_what_a_restore_brings_back(bench: Bench) -> None:
    records(bench, 2)
    bench.do("tenant_suspend", reason="operator")
    bench.do("database_backup")
    (made,) = backups(bench)
    bench.do("tenant_resume", reason="operator")
    records(bench, 1)
    run = bench.work(bench.propose("database_restore", backup=made.id))
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run.id).state == "applied"
    assert bench.ask("database_get", tenant=TENANT)["result"]["records"] == 2


@pytest.mark.long
def test_a_suspended_tenant_is_offboarded_after_its_backup_as_before(bench: Bench) -> None:
    records(bench, 1)
    bench.do("tenant_suspend", reason="operator")
    bench.do("database_backup")
    offboard(bench)
    told = bench.ask("backup_list", tenant=TENANT)["result"]["backups"]
    assert [one["state"] for one in told] == ["verified", "verified"]


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE not in one], every=6))
def test_one_of_a_suspended_tenant_that_was_killed_is_finished_and_leaves_it_shut(
    bench: Bench, point: str
) -> None:
    bench.do("tenant_suspend", reason="operator")
    run_id = bench.propose("database_backup")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert (state(bench), bench.open_at, unvouched(bench)) == ("stopped", None, [])


@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE in one], every=4))
def test_one_of_a_suspended_tenant_that_failed_leaves_nothing_and_leaves_it_shut(
    bench: Bench, point: str
) -> None:
    bench.do("tenant_suspend", reason="operator")
    run_id = bench.propose("database_backup")
    bench.work_until_killed(run_id, point, "database_backup.finish.before")
    assert bench.work(run_id).state == "compensated"
    assert (state(bench), archives(bench), unvouched(bench)) == ("stopped", [], [])


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE not in one], every=7))
def test_one_that_was_killed_is_finished_by_the_next_worker(bench: Bench, point: str) -> None:
    records(bench, 1)
    run_id = bench.propose("database_backup")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    (made,) = backups(bench)
    assert (made.verified_at is not None, archives(bench)) == (True, [made.id])
    assert (state(bench), unvouched(bench)) == ("available", [])


@pytest.mark.parametrize("point", sliced([one for one in POINTS if UNDONE in one], every=5))
def test_one_that_failed_leaves_nothing(bench: Bench, point: str) -> None:
    run_id = bench.propose("database_backup")
    bench.work_until_killed(run_id, point, "database_backup.finish.before")
    assert bench.work(run_id).state == "compensated"
    assert (state(bench), archives(bench), unvouched(bench)) == ("available", [], [])
    assert [one.verified_at for one in backups(bench)] in ([], [None])
