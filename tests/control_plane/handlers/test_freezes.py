"""A freeze: what it keeps from beginning, what goes on, who sets and lifts it, and what is left of that in the log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from control_plane.audit.guarded import differences, latest_guards
from control_plane.audit.recorder import guarded_rows
from control_plane.facts.approvable import Approvable
from control_plane.facts.schema import FACT_CLASSES
from control_plane.handlers.freezes import Freeze, any_holds
from control_plane.handlers.registry import failpoint_names
from control_plane.store import tables
from control_plane.store.log import StoredLog
from policies.gate import Gate
from server.freeze_status import frozen_now
from tests.support.approval_world import APPROVER, OTHER, TENANT
from tests.support.freezing import ROOT, ask, freeze, in_force, let_in, lift, swept
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, Bench, Onboarded, make_bench
from tests.support.onboarding import contact
from tests.support.slices import sliced

POLICIES = Path(__file__).parents[3] / "policies" / "cerbos"
SCOPES: tuple[dict[str, str], ...] = ({}, {"tenant": TENANT}, {"cloud": "local"})
ELSEWHERE: tuple[dict[str, str], ...] = ({"tenant": OTHER}, {"cloud": "aws"})
SUSPEND = {"reason": "operator"}
BEGUN = [one for one in failpoint_names() if one.startswith("suspend.") and ".undo_" not in one]
LEADS: dict[str, Any] = {"op": "eq", "field": "status", "value": "lead"}


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Bench]:
    """One active tenant, and somebody who may freeze everything."""
    made = make_bench(standing, tmp_path / "world", gate)
    let_in(made.world, ROOT, "platform_admin")
    yield made
    made.world.close()


def altered(bench: Bench) -> list[Any]:
    """The settings that are not as their last leaf says."""
    leaves = [one.leaf for one in reversed(StoredLog(bench.world.store).newest(1000))]
    with bench.world.store.read() as connection:
        standing = guarded_rows(connection)
    said = {row: one for row, one in latest_guards(leaves).items() if "freeze" in row[1]}
    rows = {row: one for row, one in standing.items() if "freeze" in row[1]}
    return [row for row, _ in differences(said, [], rows)]


# what begins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("of", SCOPES, ids=str)
def test_what_is_asked_for_while_it_is_frozen_is_refused(bench: Bench, of: dict[str, str]) -> None:
    freeze(bench.world, **of)
    before = bench.world.effects()
    assert bench.refused("tenant_suspend", **SUSPEND) == "frozen"
    assert bench.refused("drift_check") == "frozen"
    assert bench.refused("tenant_suspend", **SUSPEND, dry_run=True) == "frozen"
    assert bench.world.effects() == before
    lift(bench.world, **of)
    assert bench.do("tenant_suspend", **SUSPEND).state == "applied"


@pytest.mark.parametrize("of", ELSEWHERE, ids=str)
def test_a_freeze_elsewhere_stops_nothing_here(bench: Bench, of: dict[str, str]) -> None:
    bench.world.put_tenant(OTHER)
    freeze(bench.world, **of)
    assert bench.do("tenant_suspend", **SUSPEND).state == "applied"


def test_who_is_to_stand_in_a_frozen_cloud_is_not_onboarded(bench: Bench) -> None:
    freeze(bench.world, cloud="local")
    told = bench.world.asked(OTHER, isolation="pooled")
    assert (told["outcome"], told["code"], told["fact"]) == ("refused", "frozen", "frozen")
    lift(bench.world, cloud="local")
    assert bench.world.work(bench.world.propose(OTHER, isolation="pooled")).state == "applied"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        # What weighs so much that a human is asked, and what is a run from the beginning.
        ("record_create", {"values": contact(balance=2_000_000)}),
        ("record_bulk_update", {"filter": LEADS, "values": {"status": "former"}}),
    ],
)
def test_a_change_of_records_becomes_no_run(
    bench: Bench, tool: str, arguments: dict[str, Any]
) -> None:
    bench.create()
    asked = {"tenant": TENANT, "collection": "contacts", **arguments}
    freeze(bench.world)
    told = bench.ask(tool, ADMIN, **asked, idempotency_key=fresh_key())
    assert (told["outcome"], told["code"]) == ("refused", "frozen")
    lift(bench.world)
    told = bench.ask(tool, ADMIN, **asked, idempotency_key=fresh_key())
    assert told["outcome"] == "running"


# what waits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", SCOPES, ids=str)
def test_what_had_not_begun_waits_and_goes_on_once_it_is_lifted(
    bench: Bench, of: dict[str, str]
) -> None:
    run_id = bench.propose("tenant_suspend", **SUSPEND)
    freeze(bench.world, **of)
    run = bench.work(run_id)
    assert (run.state, run.attempts, bench.tenant.state) == ("pending", 0, "active")
    told = bench.ask("run_get", run_id=run_id)["result"]
    assert (told["state"], told["waits_for"]) == ("pending", "freeze")
    bench.world.clock.advance(timedelta(hours=1))
    assert swept(bench.world) == 0
    lift(bench.world, **of)
    assert bench.ask("run_get", run_id=run_id)["result"]["waits_for"] is None
    assert swept(bench.world) == 1
    assert bench.work(run_id).state == "applied"


def test_what_was_approved_waits_with_its_approval(bench: Bench) -> None:
    run = bench.world.work(bench.world.propose(OTHER, isolation="silo"))
    assert run.state == "awaiting_approval"
    freeze(bench.world)
    bench.world.answer(run, by=bench.world.caller(APPROVER))
    run = bench.world.work(run.id)
    assert (run.state, bench.world.approval(run).state) == ("approved", "approved")
    told = bench.ask("run_get", run_id=run.id)["result"]
    assert told["waits_for"] == "freeze"
    lift(bench.world)
    run = bench.world.work(run.id)
    assert (run.state, bench.world.approval(run).state) == ("applied", "consumed")


@pytest.mark.parametrize("point", ["run.taken", "run.observed", "run.planned", "run.settled"])
def test_a_freeze_that_comes_while_it_is_planned_stops_it_before_it_begins(
    bench: Bench, point: str
) -> None:
    run_id = bench.propose("tenant_suspend", **SUSPEND)
    bench.work_until_killed(run_id, point)
    freeze(bench.world)
    run = bench.work(run_id)
    assert run.state in ("pending", "planned", "approved")
    assert bench.tenant.state == "active"
    lift(bench.world)
    assert bench.work(run_id).state == "applied"


@pytest.mark.parametrize("point", ["run.started", *sliced(BEGUN, every=3)])
def test_what_has_begun_goes_on(bench: Bench, point: str) -> None:
    run_id = bench.propose("tenant_suspend", **SUSPEND)
    bench.work_until_killed(run_id, point)
    freeze(bench.world)
    assert bench.work(run_id).state == "applied"


def test_a_run_of_records_that_has_begun_goes_on(bench: Bench) -> None:
    bench.create()
    bulk = {"collection": "contacts", "filter": LEADS, "values": {"status": "former"}}
    run_id = bench.propose("record_bulk_update", ADMIN, **bulk)
    bench.work_until_killed(run_id, "run.started")
    freeze(bench.world)
    assert bench.work(run_id).state == "applied"


def test_what_waits_is_canceled_all_the_same(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", **SUSPEND)
    freeze(bench.world)
    bench.work(run_id)
    asked = bench.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())
    assert asked["outcome"] == "done"
    assert bench.work(run_id).state == "canceled"


def test_what_waited_for_longer_than_a_day_does_not_begin(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", **SUSPEND)
    freeze(bench.world)
    bench.world.clock.advance(timedelta(hours=25))
    lift(bench.world)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("discarded", "call_too_old")


def test_reads_go_on_and_tell_of_it(bench: Bench) -> None:
    assert bench.ask("tenant_get", tenant=TENANT)["result"]["frozen"] is False
    freeze(bench.world, tenant=TENANT)
    assert bench.ask("tenant_get", tenant=TENANT)["result"]["frozen"] is True
    assert bench.ask("run_list")["outcome"] == "done"
    assert bench.query()["outcome"] == "done"
    assert bench.create()["outcome"] == "done"


def test_a_call_that_is_made_again_is_answered_as_before(bench: Bench) -> None:
    asked = {"tenant": TENANT, "idempotency_key": fresh_key(), **SUSPEND}
    first = bench.ask("tenant_suspend", **asked)
    freeze(bench.world)
    again = bench.ask("tenant_suspend", **asked)
    assert (again["outcome"], again["run_id"]) == ("running", first["run_id"])


# who, and what is left of it ---------------------------------------------------------------------


def test_it_is_told_by_whom_and_why_and_vouched_for(bench: Bench) -> None:
    told = freeze(bench.world, tenant=TENANT)
    assert (told["scope"], told["of"], told["frozen"]) == ("tenant", TENANT, True)
    (stands,) = in_force(bench.world)
    assert (stands.reason, stands.by) == ("An outage.", ROOT)
    assert altered(bench) == []
    ask(bench.world, True, tenant=TENANT, reason="A longer outage.")
    (stands,) = in_force(bench.world)
    assert (stands.reason, altered(bench)) == ("A longer outage.", [])
    lift(bench.world, tenant=TENANT)
    assert (in_force(bench.world), altered(bench)) == ((), [])
    table = tables.audit_leaf
    with bench.world.store.read() as connection:
        kinds = connection.execute(select(table.c.kind).where(table.c.kind.like("freeze.%")))
        assert kinds.scalars().all() == ["freeze.set", "freeze.set", "freeze.lifted"]


def test_a_freeze_that_somebody_deleted_from_outside_is_found(bench: Bench) -> None:
    freeze(bench.world)
    table = tables.setting
    with bench.world.store.write() as connection:
        connection.execute(table.delete().where(table.c.name == "freeze"))
    assert altered(bench) == [("setting", "freeze")]


def test_to_lift_what_is_not_in_force_changes_nothing(bench: Bench) -> None:
    assert lift(bench.world)["frozen"] is False
    assert (in_force(bench.world), altered(bench)) == ((), [])


def test_an_operator_freezes_a_tenant_of_the_grant_and_nothing_wider(bench: Bench) -> None:
    let_in(bench.world, "olga", "operator", tenants=TENANT)
    assert ask(bench.world, True, "olga", tenant=TENANT)["outcome"] == "done"
    assert ask(bench.world, False, "olga", tenant=TENANT)["outcome"] == "done"
    for of in ({}, {"cloud": "local"}, {"tenant": OTHER}):
        assert ask(bench.world, True, "olga", **of)["outcome"] == "not_found", of
    assert in_force(bench.world) == ()


def test_an_agent_neither_sets_nor_lifts_one(bench: Bench) -> None:
    let_in(bench.world, "rob", "platform_admin", actor="rob-bot")
    freeze(bench.world)
    for on, of in ((True, {"tenant": TENANT}), (False, {})):
        told = ask(bench.world, on, "rob", **of)
        assert (told["outcome"], told["code"]) == ("refused", "human_only")
    assert [one.scope for one in in_force(bench.world)] == ["workspace"]


def test_who_reads_only_does_not_know_the_tool(bench: Bench) -> None:
    let_in(bench.world, "vera", "auditor")
    assert ask(bench.world, True, "vera")["code"] == "tool_not_listed"


def test_a_tenant_that_is_not_there_is_not_frozen(bench: Bench) -> None:
    assert ask(bench.world, True, tenant="nobody")["outcome"] == "not_found"


def test_what_each_freeze_keeps_waiting_is_counted(bench: Bench) -> None:
    bench.propose("tenant_suspend", **SUSPEND)
    freeze(bench.world)
    freeze(bench.world, cloud="aws")
    freeze(bench.world, tenant=TENANT)
    with bench.world.store.read() as connection:
        found = {(one.freeze.scope, one.freeze.of): one.waiting for one in frozen_now(connection)}
    assert found == {("workspace", ""): 1, ("cloud", "aws"): 0, ("tenant", TENANT): 1}


@pytest.mark.parametrize(
    "kind", [one.kind for one in FACT_CLASSES if issubclass(one, Approvable)], ids=str
)
def test_policy_holds_back_every_kind_that_a_run_may_be_about(kind: str) -> None:
    policy = yaml.safe_load((POLICIES / f"{kind}.yaml").read_text())
    rules = {one["name"]: one for one in policy["resourcePolicy"]["rules"]}
    guard = rules["guard_frozen"]
    assert (guard["effect"], guard["roles"]) == ("EFFECT_DENY", ["*"])
    assert guard["condition"]["match"]["expr"] == 'R.attr.frozen && R.attr.step == ""'


def test_a_freeze_of_one_holds_no_other() -> None:
    def of(scope: Any, name: str) -> Freeze:
        return Freeze(scope=scope, of=name, reason="r", by="b", at="a")

    assert any_holds([of("workspace", "")], "", "")
    assert any_holds([of("tenant", "acme")], "acme", "aws")
    assert not any_holds([of("tenant", "aws"), of("cloud", "acme")], "acme", "aws")
    assert not any_holds([of("tenant", "acme"), of("cloud", "aws")], "", "")
