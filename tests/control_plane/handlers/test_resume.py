"""A resumption: one reason at a time, and open only when stack and database have been seen to stand."""

from __future__ import annotations

import pytest

from control_plane.handlers.registry import failpoint_names
from control_plane.store import tables
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import ADMIN, Bench
from tests.support.slices import sliced

FAILING = "resume.activate.before"
NAMES = [name for name in failpoint_names() if name.startswith("resume.")]
FORWARD = [name for name in NAMES if ".undo_" not in name]
BACKWARD = [name for name in NAMES if ".undo_" in name]
SHUT = (0, None)


def suspend(bench: Bench, *reasons: str) -> None:
    for reason in reasons:
        bench.do("tenant_suspend", reason=reason)


def test_with_its_last_reason_cleared_a_tenant_is_open_again(bench: Bench) -> None:
    suspend(bench, "operator")
    run = bench.do("tenant_resume", reason="operator")
    assert bench.standing == ("active", [], "full")
    assert bench.open_at == bench.data_epoch > 0
    assert bench.create()["outcome"] == "done"
    assert len(bench.query()["result"]["records"]) == 1
    assert run.artifact is None


def test_while_a_reason_is_left_the_tenant_stays_suspended(bench: Bench) -> None:
    suspend(bench, "operator", "quota")
    bench.do("tenant_resume", reason="quota")
    assert bench.standing == ("suspended", ["operator"], "none")
    assert (bench.data_epoch, bench.open_at) == SHUT
    bench.do("tenant_resume", reason="operator")
    assert bench.standing == ("active", [], "full")


def test_a_reason_that_is_not_there_is_refused(bench: Bench) -> None:
    suspend(bench, "operator")
    assert bench.refused("tenant_resume", reason="quota") == "reason_not_present"


def test_an_active_tenant_is_not_resumed(bench: Bench) -> None:
    assert bench.refused("tenant_resume", reason="operator") == "illegal_transition"


@pytest.mark.parametrize("who", [ADMIN, "alice"])
def test_only_a_settled_payment_clears_billing(bench: Bench, who: str) -> None:
    suspend(bench, "operator")
    both = ["billing", "operator"]
    bench.world.alter(tables.tenant, tables.tenant.c.id == TENANT, suspend_reasons=both)
    assert bench.refused("tenant_resume", who, reason="billing") == "payment_required"
    assert bench.standing == ("suspended", both, "none")


@pytest.mark.long
def test_a_security_reason_is_cleared_by_a_platform_admin_alone(bench: Bench) -> None:
    suspend(bench, "security")
    assert bench.refused("tenant_resume", reason="security") == "security_reason"
    bench.do("tenant_resume", ADMIN, reason="security")
    assert bench.standing == ("active", [], "full")


def test_a_tenant_whose_stack_is_gone_stays_suspended(bench: Bench) -> None:
    suspend(bench, "operator")
    bench.world.provisioner._stacks.clear()
    run = bench.work(bench.propose("tenant_resume", reason="operator"))
    assert (run.state, run.reason) == ("compensated", "stack_not_ready")
    assert bench.standing == ("suspended", ["operator"], "none")
    assert (bench.data_epoch, bench.open_at) == SHUT


def test_a_tenant_whose_database_is_gone_stays_suspended(bench: Bench) -> None:
    suspend(bench, "operator")
    bench.world.ports.databases.main.drop(TENANT, "pooled", 100)
    run = bench.work(bench.propose("tenant_resume", reason="operator"))
    assert (run.state, run.reason) == ("compensated", "database_not_ready")
    assert bench.standing == ("suspended", ["operator"], "none")


@pytest.mark.parametrize("point", ["resume.clear.recorded", "resume.open.done", FAILING])
def test_a_resumption_that_fails_has_the_reason_back_and_the_database_shut(
    bench: Bench, point: str
) -> None:
    suspend(bench, "operator")
    run = bench.work(bench.propose("tenant_resume", reason="operator"), point)
    assert run.state == "compensated", run
    assert bench.standing == ("suspended", ["operator"], "none")
    assert (bench.data_epoch, bench.open_at) == SHUT


def test_a_reason_that_could_not_be_cleared_is_back_beside_the_others(bench: Bench) -> None:
    suspend(bench, "operator", "quota")
    run = bench.work(bench.propose("tenant_resume", reason="quota"), FAILING)
    assert run.state == "compensated", run
    assert bench.standing == ("suspended", ["operator", "quota"], "none")


@pytest.mark.parametrize("point", sliced(FORWARD))
def test_a_worker_that_died_anywhere_in_a_resumption_has_another_finish_it(
    bench: Bench, point: str
) -> None:
    suspend(bench, "operator")
    run_id = bench.propose("tenant_resume", reason="operator")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert bench.standing == ("active", [], "full")
    assert bench.open_at == bench.data_epoch > 0
    assert bench.create()["outcome"] == "done"


@pytest.mark.long
@pytest.mark.parametrize("point", sliced(BACKWARD))
def test_a_worker_that_died_anywhere_in_undoing_it_has_another_shut_the_tenant(
    bench: Bench, point: str
) -> None:
    suspend(bench, "operator")
    run_id = bench.propose("tenant_resume", reason="operator")
    bench.work_until_killed(run_id, point, FAILING)
    assert bench.work(run_id, FAILING).state == "compensated"
    assert bench.standing == ("suspended", ["operator"], "none")
    assert (bench.data_epoch, bench.open_at) == SHUT
