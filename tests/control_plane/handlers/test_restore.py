"""A restoring: the same records under the same ids, within the retention, or the rest that was before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.plans import PlanCatalog
from control_plane.errors import Failed
from control_plane.handlers.declared import Catalog
from control_plane.handlers.offboard import RETENTION_DAYS
from control_plane.handlers.registry import failpoint_names
from control_plane.store import tables
from tests.support.approval_world import TENANT
from tests.support.charges import MONTHLY
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import (
    Resting,
    approved,
    backups,
    found,
    lift,
    offboard,
    parts,
    records,
    stands,
    tamper,
    unvouched,
)
from tests.support.onboarding import contact
from tests.support.slices import sliced

FAILING = "restore.activate.before"
NAMES = [name for name in failpoint_names() if name.startswith("restore.")]
FORWARD = [name for name in NAMES if ".undo_" not in name]
BACKWARD = [name for name in NAMES if ".undo_" in name]


def at_rest(bench: Bench) -> bool:
    """The tenant is as its offboarding has left it."""
    kept = bench.tenant.restorable_until is not None
    away = (bench.standing[0::2], stands(bench)) == (("deprovisioned", "none"), (False, False))
    return kept and away and unvouched(bench) == []


@pytest.mark.long
def test_a_restored_tenant_has_the_same_records_and_is_written_again(
    away: Bench, resting: Resting
) -> None:
    run = away.do("tenant_restore")
    assert away.standing == ("active", [], "full")
    assert found(away) == resting.records
    assert away.open_at == away.data_epoch > 0
    assert away.create()["outcome"] == "done"
    assert away.tenant.restorable_until is None
    assert away.tenant.deletion_protection
    read = away.ask("tenant_get", tenant=TENANT)["result"]
    assert (read["subscription_state"], read["restorable_until"]) == ("active", None)
    assert parts(run)["backup"]["id"] == backups(away)[0].id
    assert unvouched(away) == []


@pytest.mark.long
def test_an_approval_that_was_given_before_is_good_for_no_second_going(away: Bench) -> None:
    away.do("tenant_restore")
    records(away, 1)
    assert away.refused("tenant_offboard", cancel_subscription=True) == "deletion_protected"
    lift(away)
    assert away.work(approved(away)).state == "applied"
    older, newest = sorted(backups(away), key=lambda one: one.verified_at or "")
    assert older.contents["tables"]["contacts"]["rows"] == 2  # type: ignore[index, call-overload]
    assert newest.contents["tables"]["contacts"]["rows"] == 3  # type: ignore[index, call-overload]
    run = away.do("tenant_restore")
    assert parts(run)["backup"]["id"] == newest.id
    assert len(found(away)) == 3


@pytest.mark.long
def test_a_call_that_was_applied_before_is_still_known_after_a_restore(bench: Bench) -> None:
    key = fresh_key()
    asked = {
        "tenant": TENANT,
        "collection": "contacts",
        "values": contact(),
        "idempotency_key": key,
    }
    first = bench.ask("record_create", "sue", **asked)
    assert first["outcome"] == "done", first
    offboard(bench)
    bench.do("tenant_restore")
    assert bench.ask("record_create", "sue", **asked)["outcome"] == "done"
    assert len(found(bench)) == 1


def test_once_the_retention_is_over_nothing_is_restored(away: Bench) -> None:
    away.world.clock.advance(timedelta(days=RETENTION_DAYS))
    for person in ("alice", "sue", "pam"):
        away.world.alter_grant(person, expires_at="2999-01-01T00:00:00.000000Z")
    assert away.refused("tenant_restore") == "not_restorable"
    assert at_rest(away)


def test_a_tenant_that_was_not_offboarded_is_not_restored(bench: Bench) -> None:
    assert bench.refused("tenant_restore") == "tenant_state"


def test_without_a_proven_backup_nothing_is_restored(away: Bench) -> None:
    away.world.alter(tables.backup, tables.backup.c.tenant == TENANT, verified_at=None)
    assert away.refused("tenant_restore") == "not_restorable"


class Priced:
    """The applied catalog, with a price on every plan or without the tenant's."""

    def __init__(self, catalog: Catalog, changed: dict[str, Any], drop: str = "") -> None:
        kept = [one for one in catalog.plans.plans if one.name != drop]
        plans = tuple(one.model_copy(update=changed) for one in kept)
        self.plans = PlanCatalog.model_construct(plans=plans)
        self.coupons = catalog.coupons
        self.collections = catalog.collections
        self.row_rules = catalog.row_rules
        self.digest = "0" * 64


@pytest.mark.parametrize(
    ("changed", "drop", "code"),
    [
        ({"charges": (MONTHLY,)}, "", "payment_required"),
        ({}, "team", "plan_not_found"),
        ({"regions": ("mars",)}, "", "region_not_in_plan"),
        ({"isolations": ("silo",)}, "", "isolation_not_in_plan"),
    ],
)
def test_a_plan_that_is_no_longer_to_be_had_brings_no_tenant_back(
    away: Bench, changed: dict[str, Any], drop: str, code: str
) -> None:
    priced = Priced(away.world.ports.catalog, changed, drop)
    other = Bench(away.world.with_catalog(priced))
    assert other.refused("tenant_restore") == code


@pytest.mark.long
def test_a_tenant_that_was_shut_for_a_cause_comes_back_by_an_approval_alone(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="security")
    offboard(bench)
    run = bench.work(bench.propose("tenant_restore"))
    assert run.state == "awaiting_approval", run
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run.id).state == "applied"
    assert bench.standing == ("active", [], "full")


@pytest.mark.long
def test_a_tenant_that_was_suspended_by_an_operator_comes_back_without_one(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="operator")
    offboard(bench)
    bench.do("tenant_restore")
    assert bench.standing == ("active", [], "full")


def test_an_archive_that_was_tampered_with_leaves_the_tenant_at_rest(away: Bench) -> None:
    tamper(away, backups(away)[0])
    run = away.work(away.propose("tenant_restore"))
    assert (run.state, run.reason) == ("compensated", "archive_altered")
    assert at_rest(away)


@pytest.mark.parametrize("point", sliced(FORWARD))
def test_a_worker_that_died_anywhere_in_a_restoring_has_another_finish_it_once(
    away: Bench, resting: Resting, point: str
) -> None:
    run_id = away.propose("tenant_restore")
    away.work_until_killed(run_id, point)
    run = away.work(run_id)
    assert run.state == "applied", run
    assert found(away) == resting.records
    assert away.create()["outcome"] == "done"


@pytest.mark.parametrize(
    "point", sliced([name for name in FORWARD if name.endswith(".done")] + [FAILING])
)
def test_a_restoring_that_fails_leaves_the_tenant_at_rest_and_can_be_tried_again(
    away: Bench, resting: Resting, point: str
) -> None:
    run = away.work(away.propose("tenant_restore"), point)
    assert run.state == "compensated", run
    assert at_rest(away)
    away.do("tenant_restore")
    assert found(away) == resting.records


@pytest.mark.parametrize("point", sliced(BACKWARD))
def test_a_worker_that_died_in_undoing_it_has_another_put_the_tenant_to_rest(
    away: Bench, point: str
) -> None:
    run_id = away.propose("tenant_restore")
    away.work_until_killed(run_id, point, FAILING)
    assert away.work(run_id, FAILING).state == "compensated"
    assert at_rest(away)


def test_a_restoring_under_way_can_be_called_off(away: Bench) -> None:
    run_id = away.propose("tenant_restore")
    away.work_until_killed(run_id, "restore.load.recorded")
    assert away.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())["outcome"] == "done"
    run = away.work(run_id)
    assert (run.state, run.reason) == ("compensated", "canceled")
    assert at_rest(away)


def test_data_that_does_not_come_to_the_manifest_is_not_opened(away: Bench) -> None:
    run_id = away.propose("tenant_restore")
    away.work_until_killed(run_id, "restore.verify.before")
    with away.world.ports.databases.main.transaction(TENANT, "pooled") as connection:
        connection.exec_driver_sql("DELETE FROM contacts")
    run = away.work(run_id)
    assert (run.state, run.reason) == ("compensated", "restore_differs")
    assert at_rest(away)


def test_a_stack_that_does_not_come_leaves_the_tenant_at_rest(
    away: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:

    def failing(*given: object, **more: object) -> None:
        raise Failed("It does not come.", code="cloud_says_no")

    monkeypatch.setattr(away.world.provisioner, "apply", failing)
    run = away.work(away.propose("tenant_restore"))
    assert (run.state, run.reason) == ("compensated", "cloud_says_no")
    assert at_rest(away)
