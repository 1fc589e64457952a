"""A suspension: refused from the first step on, shut to the bottom, undone to exactly what was."""

from __future__ import annotations

import pytest

from control_plane.commands import CreateRecord
from control_plane.domain.call import Call
from control_plane.errors import Refused
from control_plane.handlers.handler import View
from control_plane.handlers.record_changes import CreateRecordHandler
from control_plane.handlers.registry import failpoint_names
from control_plane.store import tables
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench
from tests.support.onboarding import contact
from tests.support.rows_gate import Unruled
from tests.support.slices import sliced

FAILING = "suspend.finish.before"
NAMES = [name for name in failpoint_names() if name.startswith("suspend.")]
FORWARD = [name for name in NAMES if ".undo_" not in name]
BACKWARD = [name for name in NAMES if ".undo_" in name]


def test_a_suspended_tenant_is_shut_to_the_bottom(bench: Bench) -> None:
    run = bench.do("tenant_suspend", reason="operator")
    assert bench.standing == ("suspended", ["operator"], "none")
    assert (bench.data_epoch, bench.open_at) == (0, None)
    assert run.artifact is None
    assert "artifact" not in (run.plan or {})["parts"]  # type: ignore[operator]
    assert bench.query()["code"] == "access_suspended"
    assert bench.create()["code"] == "access_suspended"


def test_a_read_only_suspension_leaves_reads_open(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="quota", access="read_only")
    assert bench.standing == ("suspended", ["quota"], "read_only")
    assert bench.open_at is None
    assert bench.query()["outcome"] == "done"
    assert bench.create()["outcome"] == "refused"


def test_a_further_reason_is_added_and_access_only_gets_stricter(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="quota", access="read_only")
    bench.do("tenant_suspend", reason="security", access="none")
    assert bench.standing == ("suspended", ["quota", "security"], "none")
    bench.do("tenant_suspend", reason="operator", access="read_only")
    assert bench.standing == ("suspended", ["operator", "quota", "security"], "none")
    assert (bench.data_epoch, bench.open_at) == (0, None)


def test_the_same_reason_again_is_refused_unless_it_takes_more(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="quota", access="read_only")
    again = {"reason": "quota", "access": "read_only"}
    assert bench.refused("tenant_suspend", **again) == "already_suspended"
    bench.do("tenant_suspend", reason="quota", access="none")
    assert bench.standing == ("suspended", ["quota"], "none")
    assert bench.refused("tenant_suspend", **again) == "already_suspended"


def test_a_tenant_that_is_not_in_service_is_not_suspended(bench: Bench) -> None:
    bench.world.alter(tables.tenant, tables.tenant.c.id == TENANT, state="provision_failed")
    assert bench.refused("tenant_suspend", reason="operator") == "illegal_transition"


@pytest.mark.parametrize("tool", ["tenant_suspend", "tenant_resume"])
def test_a_tenant_outside_the_grant_is_not_found_as_one_that_is_not_there(
    bench: Bench, tool: str
) -> None:
    asked = {"reason": "operator", "idempotency_key": fresh_key()}
    bench.world.grant("eve", "platform_admin", actor="eve-bot")
    bench.world.alter_grant("eve", tenants=["globex"])
    outside = bench.ask(tool, "eve", tenant=TENANT, **asked)
    assert outside == bench.ask(tool, ADMIN, tenant="globex", **asked)
    assert outside["outcome"] == "not_found"


def test_a_dry_run_says_what_would_be_and_does_nothing(bench: Bench) -> None:
    run = bench.work(bench.propose("tenant_suspend", reason="operator", dry_run=True))
    assert (run.state, run.reason) == ("discarded", "dry_run")
    parts = (run.plan or {})["parts"]
    assert isinstance(parts, dict)
    assert parts["rows"] == {
        "tenant": TENANT,
        "suspend_reason": "operator",
        "access_at_most": "none",
    }
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"


def test_from_its_first_step_on_a_suspension_refuses_the_next_call(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    bench.work_until_killed(run_id, "suspend.restrict.recorded")
    assert bench.standing == ("suspending", ["operator"], "none")
    assert bench.query()["code"] == "access_suspended"
    assert bench.create()["code"] == "access_suspended"
    told = bench.ask("tenant_get", tenant=TENANT)["result"]
    assert (told["state"], told["suspend_reasons"]) == ("suspending", ["operator"])


def test_a_write_decided_before_the_suspension_finds_the_fence_shut(bench: Bench) -> None:
    world, handler = bench.world, CreateRecordHandler()
    command = CreateRecord(tenant=TENANT, collection="contacts", values=contact())
    caller = world.caller(SUPPORT)
    with world.store.read() as connection:
        subject = handler.subject(command, View(connection, caller, world.ports, Unruled()))
    call = Call.model_construct(id="c" * 32, seed=world.ports.ids.seed(), tenant=TENANT)
    bench.do("tenant_suspend", reason="security", access="read_only")
    with pytest.raises(Refused) as refused:
        handler.affect(command, call, subject, world.ports, None)
    assert refused.value.code == "fenced"
    assert bench.query()["result"]["records"] == []


@pytest.mark.slice_of(3)
@pytest.mark.parametrize(
    "point",
    [
        "suspend.restrict.inside",
        "suspend.close.before",
        "suspend.close.dispatched",
        "suspend.close.done",
        "suspend.verify.done",
        FAILING,
    ],
)
def test_a_suspension_that_fails_leaves_exactly_what_was(bench: Bench, point: str) -> None:
    before = bench.tenant
    run = bench.work(bench.propose("tenant_suspend", reason="operator"), point)
    assert run.state in ("compensated", "failed"), run
    assert bench.tenant == before.model_copy(update={"version": bench.tenant.version})
    assert bench.open_at == bench.data_epoch > 0
    assert bench.create()["outcome"] == "done"


def test_a_further_reason_that_fails_leaves_the_tenant_as_shut_as_it_was(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="quota", access="read_only")
    run = bench.work(bench.propose("tenant_suspend", reason="security"), FAILING)
    assert run.state == "compensated"
    assert bench.standing == ("suspended", ["quota"], "read_only")
    assert (bench.data_epoch, bench.open_at) == (0, None)


@pytest.mark.parametrize("point", sliced(FORWARD))
def test_a_worker_that_died_anywhere_in_a_suspension_has_another_finish_it(
    bench: Bench, point: str
) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert bench.standing == ("suspended", ["operator"], "none")
    assert (bench.data_epoch, bench.open_at) == (0, None)


@pytest.mark.parametrize("point", sliced(BACKWARD))
def test_a_worker_that_died_anywhere_in_undoing_it_has_another_open_the_tenant(
    bench: Bench, point: str
) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    bench.work_until_killed(run_id, point, FAILING)
    assert bench.work(run_id, FAILING).state == "compensated"
    assert bench.standing == ("active", [], "full")
    assert bench.open_at == bench.data_epoch > 0
    assert bench.create()["outcome"] == "done"


def test_a_suspension_under_way_can_be_called_off(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    bench.work_until_killed(run_id, "suspend.close.recorded")
    canceled = bench.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())
    assert canceled["outcome"] == "done"
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "canceled")
    assert bench.standing == ("active", [], "full")
    assert bench.create()["outcome"] == "done"


def test_a_tenant_whose_database_is_gone_can_still_be_suspended(bench: Bench) -> None:
    bench.world.ports.databases.main.drop(TENANT, "pooled", 100)
    bench.do("tenant_suspend", reason="security")
    assert bench.standing == ("suspended", ["security"], "none")


def test_another_change_of_the_tenant_waits_for_the_suspension(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    asked = {"tenant": TENANT, "reason": "quota", "idempotency_key": fresh_key()}
    answered = bench.ask("tenant_suspend", **asked)
    assert (answered["outcome"], answered["run_id"]) == ("conflict", run_id)
