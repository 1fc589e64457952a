"""An offboarding: refused while anything keeps the tenant, approved by a human, and never before a proven backup."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from control_plane.domain.canonical import instant
from control_plane.handlers.offboard import RETENTION_DAYS
from control_plane.handlers.registry import failpoint_names
from control_plane.store import tables
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, Bench
from tests.support.offboarding import (
    DESTROYING,
    approved,
    assert_gone,
    backups,
    found,
    lift,
    offboard,
    parked,
    parts,
    records,
    stands,
    steps,
    tamper,
    unvouched,
)
from tests.support.slices import sliced

NAMES = [name for name in failpoint_names() if name.startswith("offboard.")]
FORWARD = [name for name in NAMES if ".undo_" not in name]
BACKWARD = [name for name in NAMES if ".undo_" in name]
FINAL = (*DESTROYING, "finish")
# Of each step that can be undone: its effect stands, and that it does is not written.
BEFORE = [
    name
    for name in FORWARD
    if name.endswith(".done") and not any(f".{step}." in name for step in FINAL)
]
# The last boundary at which everything can still be undone.
LAST_WAY_BACK = "offboard.drop_database.before"


# Refusals ------------------------------------------------------------------------------------


def test_a_protected_tenant_is_not_offboarded_even_by_a_platform_admin(bench: Bench) -> None:
    for who in ("alice", ADMIN):
        answered = bench.refused("tenant_offboard", who, cancel_subscription=True)
        assert answered == "deletion_protected"
    assert bench.standing == ("active", [], "full")


def test_a_held_tenant_is_not_offboarded(bench: Bench) -> None:
    lift(bench, deletion_protection=False, legal_hold=True)
    assert bench.refused("tenant_offboard", cancel_subscription=True) == "legal_hold"


def test_a_subscription_that_goes_on_must_be_ended_with_the_tenant(bench: Bench) -> None:
    lift(bench)
    assert bench.refused("tenant_offboard") == "subscription_active"
    bench.world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, state="canceled")
    assert parked(bench, cancel_subscription=False).state == "awaiting_approval"


@pytest.mark.parametrize("state", ["deprovisioned", "provisioning", "purged"])
def test_a_tenant_that_is_gone_or_on_its_way_is_not_offboarded(bench: Bench, state: str) -> None:
    lift(bench)
    bench.world.alter(tables.tenant, tables.tenant.c.id == TENANT, state=state)
    assert bench.refused("tenant_offboard", cancel_subscription=True) == "tenant_state"


# The plan ------------------------------------------------------------------------------------


def test_the_approver_is_shown_what_goes_and_until_when_it_can_come_back(bench: Bench) -> None:
    records(bench, 3)
    lift(bench)
    run = parked(bench)
    told = parts(run)
    until = datetime.fromisoformat(run.as_of) + timedelta(days=RETENTION_DAYS)
    assert told["data"]["records"] == {"contacts": 3}
    assert told["data"]["database"] == "dropped"
    assert told["retention"] == {
        "days": RETENTION_DAYS,
        "restorable_until": instant(until),
    }
    assert told["facts"]["infra_deletes"] == 1
    assert told["rows"] == {"tenant": TENANT, "cancel_subscription": True}
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"


def test_a_dry_run_says_what_would_go_and_touches_nothing(bench: Bench) -> None:
    lift(bench)
    run_id = bench.propose("tenant_offboard", cancel_subscription=True, dry_run=True)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("discarded", "dry_run")
    assert parts(run)["data"]["database"] == "dropped"
    assert bench.standing == ("active", [], "full")
    assert stands(bench) == (True, True)


@pytest.mark.parametrize("given", [{"legal_hold": True}, {"deletion_protection": True}])
def test_what_is_laid_on_the_tenant_meanwhile_voids_the_approval(
    bench: Bench, given: dict[str, bool]
) -> None:
    lift(bench)
    run_id = approved(bench)
    lift(bench, **given)
    run = bench.work(run_id)
    assert run.state == "discarded", run
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"


def test_without_an_approval_nothing_is_done_in_any_model(bench: Bench) -> None:
    lift(bench)
    run = parked(bench)
    assert bench.work(run.id).state == "awaiting_approval"
    assert bench.standing == ("active", [], "full")


# To the end ----------------------------------------------------------------------------------


def test_an_offboarded_tenant_is_gone_and_its_backup_is_kept(bench: Bench) -> None:
    records(bench, 2)
    run = offboard(bench)
    assert_gone(bench)
    (backup,) = backups(bench)
    assert backup.run_id == run.id
    assert backup.contents["tables"]["contacts"]["rows"] == 2  # type: ignore[index, call-overload]
    told = bench.ask("run_get", run_id=run.id)["result"]
    assert [step["name"] for step in told["steps"]] == [
        "begin",
        "close",
        "backup",
        "verify_backup",
        "drop_database",
        "destroy",
        "finish",
    ]
    read = bench.ask("tenant_get", tenant=TENANT)["result"]
    assert (read["state"], read["subscription_state"]) == ("deprovisioned", "canceled")
    assert read["restorable_until"] == backup.keep_until


def test_a_tenant_whose_onboarding_failed_can_be_offboarded(bench: Bench) -> None:
    bench.world.ports.databases.main.drop(TENANT, "pooled", 100)
    bench.world.provisioner._stacks.clear()
    bench.world.alter(tables.tenant, tables.tenant.c.id == TENANT, state="provision_failed")
    lift(bench)
    run = bench.work(approved(bench))
    assert run.state == "applied", run
    assert parts(run)["data"]["database"] == "absent"
    assert bench.tenant.state == "deprovisioned"


def test_a_tenant_in_service_whose_data_is_gone_is_not_offboarded(bench: Bench) -> None:
    lift(bench)
    bench.world.ports.databases.main.drop(TENANT, "pooled", 100)
    run = bench.work(approved(bench))
    assert (run.state, run.reason) == ("compensated", "database_missing")
    assert bench.standing == ("suspended", ["operator"], "none")
    assert stands(bench) == (False, True)


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(FORWARD))
def test_a_worker_that_died_anywhere_in_an_offboarding_has_another_finish_it(
    bench: Bench, point: str
) -> None:
    records(bench, 1)
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, point)
    run = bench.work(run_id)
    assert run.state == "applied", run
    assert_gone(bench)


# The way back --------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["offboard.begin.before", "offboard.begin.inside"])
def test_what_fails_at_the_very_beginning_leaves_the_tenant_as_it_was(
    bench: Bench, point: str
) -> None:
    lift(bench)
    run = bench.work(approved(bench), point)
    assert run.state == "failed", run
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"


@pytest.mark.parametrize("point", sliced([*BEFORE, LAST_WAY_BACK]))
def test_what_fails_before_anything_is_destroyed_leaves_the_tenant_shut_and_whole(
    bench: Bench, point: str
) -> None:
    before = records(bench, 2)
    lift(bench)
    run = bench.work(approved(bench), point)
    assert run.state == "compensated", run
    assert bench.standing == ("suspended", ["operator"], "none")
    assert stands(bench) == (True, True)
    assert unvouched(bench) == []
    bench.do("tenant_resume", reason="operator")
    assert found(bench) == before
    assert bench.create()["outcome"] == "done"


@pytest.mark.parametrize("point", sliced(BACKWARD))
def test_a_worker_that_died_in_undoing_has_another_suspend_the_tenant(
    bench: Bench, point: str
) -> None:
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, point, LAST_WAY_BACK)
    assert bench.work(run_id, LAST_WAY_BACK).state == "compensated"
    assert bench.standing == ("suspended", ["operator"], "none")
    assert stands(bench) == (True, True)


def test_a_backup_that_was_tampered_with_stops_it_before_anything_is_destroyed(
    bench: Bench,
) -> None:
    before = records(bench, 2)
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, "offboard.backup.recorded")
    (backup,) = backups(bench)
    tamper(bench, backup)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "archive_altered")
    assert bench.standing == ("suspended", ["operator"], "none")
    assert stands(bench) == (True, True)
    assert not set(DESTROYING) & set(steps(bench, run_id))
    bench.do("tenant_resume", reason="operator")
    assert found(bench) == before


def test_a_row_of_the_backup_that_says_other_contents_stops_it_too(bench: Bench) -> None:
    records(bench, 1)
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, "offboard.backup.recorded")
    bench.world.alter(tables.backup, tables.backup.c.tenant == TENANT, contents={"tables": {}})
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "backup_differs")
    assert stands(bench) == (True, True)


@pytest.mark.parametrize("step", DESTROYING)
def test_no_destroying_step_is_permitted_without_a_proven_backup(bench: Bench, step: str) -> None:
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, f"offboard.{step}.before")
    bench.world.alter(tables.backup, tables.backup.c.tenant == TENANT, verified_at=None)
    run = bench.work(run_id)
    assert step not in steps(bench, run_id)
    ended = {
        "drop_database": ("compensated", "backup_not_verified"),
        "destroy": ("failed", "residue"),
    }
    assert (run.state, run.reason) == ended[step]
    assert stands(bench)[1]


def test_it_can_be_called_off_until_something_is_destroyed(bench: Bench) -> None:
    before = records(bench, 1)
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, "offboard.drop_database.before")
    assert bench.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())["outcome"] == "done"
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "canceled")
    assert bench.standing == ("suspended", ["operator"], "none")
    assert len(backups(bench)) == 1
    bench.do("tenant_resume", reason="operator")
    assert found(bench) == before


def test_called_off_too_late_it_goes_on_to_its_end(bench: Bench) -> None:
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, "offboard.drop_database.recorded")
    bench.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())
    assert bench.work(run_id).state == "applied"
    assert_gone(bench)
