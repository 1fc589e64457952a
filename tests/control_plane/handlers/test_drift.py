"""A look at a stack and its repair, to the end: what is told, what is written, and what keeps from either."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.domain.canonical import Json, instant
from control_plane.domain.run_record import Run
from control_plane.handlers.registry import failpoint_names
from control_plane.store import rows, tables
from control_plane.store.billing_tables import billing_account
from control_plane.store.infrastructure_tables import stack
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench
from tests.support.slices import sliced

KEY = (TENANT, "pooled")
CHECKING = [one for one in failpoint_names() if one.startswith("drift_check.")]
REPAIRING = [one for one in failpoint_names() if one.startswith("drift_repair.")]
UNDONE = ".undo_"


def meddle(bench: Bench, **changed: Json) -> None:
    """Somebody changes the stack past us."""
    stacks = bench.world.provisioner._stacks
    stacks[KEY] = {**stacks[KEY], **(changed or {"size": "large"})}


def stands(bench: Bench) -> dict[str, Any]:
    """The only stack, as the list tells of it."""
    (told,) = bench.ask("infrastructure_list", ADMIN)["result"]["stacks"]
    return dict(told)


def result_of(bench: Bench, tool: str, run: Run) -> dict[str, Any]:
    """What the same call answers once its run is over."""
    table = tables.idempotency
    with bench.world.store.read() as connection:
        key = connection.execute(
            select(table.c.key)
            .join(tables.call, tables.call.c.id == table.c.call_id)
            .where(tables.call.c.run_id == run.id)
        ).scalar_one()
    answered = bench.ask(tool, tenant=TENANT, idempotency_key=key)
    assert answered["outcome"] == "done", answered
    return dict(answered["result"])


# A look ----------------------------------------------------------------------------------------


def test_a_stack_that_is_as_it_was_applied_stands(bench: Bench) -> None:
    run = bench.do("drift_check")
    told = stands(bench)
    assert (told["state"], told["drift"], told["drift_count"]) == ("stands", [], 0)
    assert told["checked_at"] == instant(bench.world.clock.now())
    found = result_of(bench, "drift_check", run)
    assert (found["drifted"], found["resources"]) == (False, [])


def test_what_drifted_is_told_by_address_and_attribute_and_never_by_value(bench: Bench) -> None:
    meddle(bench, size="a-size-of-somebody's-own")
    run = bench.do("drift_check")
    told = stands(bench)
    only = {
        "address": "terraform_data.database",
        "actions": ["update"],
        "attributes": ["size"],
    }
    assert (told["state"], told["drift"], told["drift_count"]) == ("drifted", [only], 1)
    found = result_of(bench, "drift_check", run)
    assert (found["drifted"], found["resources"]) == (True, [only])
    assert "somebody" not in str(run) + str(told) + str(found)


def test_a_look_changes_nothing_there(bench: Bench) -> None:
    meddle(bench)
    before = dict(bench.world.provisioner._stacks)
    bench.do("drift_check")
    assert (bench.world.provisioner._stacks, bench.world.provisioner.applied) == (before, [])


def test_of_a_stack_that_is_gone_all_that_was_known_is_missing(bench: Bench) -> None:
    known = stands(bench)["resources"]
    del bench.world.provisioner._stacks[KEY]
    bench.do("drift_check")
    told = stands(bench)
    assert told["state"] == "drifted"
    assert [(one["address"], one["actions"]) for one in told["drift"]] == [
        (address, ["create"]) for address in known
    ]


def test_what_was_found_stays_the_answer_of_that_look(bench: Bench) -> None:
    meddle(bench)
    first = bench.do("drift_check")
    bench.do("drift_repair")
    assert stands(bench)["state"] == "stands"
    assert result_of(bench, "drift_check", first)["drifted"] is True


def test_a_suspended_tenants_stack_is_looked_at_too(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="operator")
    assert bench.do("drift_check").state == "applied"
    assert bench.refused("drift_repair") == "tenant_state"


def test_without_a_known_stack_there_is_nothing_to_look_at_or_repair(bench: Bench) -> None:
    with bench.world.store.write() as connection:
        rows.change(connection, stack, stack.c.tenant == TENANT, state="gone")
    assert bench.refused("drift_check") == "stack_not_found"
    assert bench.refused("drift_repair") == "stack_not_found"
    assert bench.ask("cost_estimate", tenant=TENANT)["code"] == "stack_not_found"


def test_what_its_plan_offers_by_now_is_no_drift(bench: Bench) -> None:
    meddle(bench, size="large")
    with bench.world.store.write() as connection:
        rows.change(connection, stack, stack.c.tenant == TENANT, size="large")
    bench.do("drift_check")
    told = stands(bench)
    assert (told["state"], told["size"]) == ("stands", "large")
    assert bench.work(bench.propose("drift_repair")).reason == "no_changes"


def test_a_dry_run_looks_at_nothing(bench: Bench) -> None:
    meddle(bench)
    run = bench.work(bench.propose("drift_check", dry_run=True))
    assert (run.state, run.reason) == ("discarded", "dry_run")
    assert stands(bench)["checked_at"] is None


# A repair --------------------------------------------------------------------------------------


@pytest.mark.long
def test_what_drifted_is_put_right(bench: Bench) -> None:
    asked_for = dict(bench.world.provisioner._stacks[KEY])
    meddle(bench)
    bench.do("drift_check")
    run = bench.do("drift_repair")
    assert bench.world.provisioner._stacks[KEY] == asked_for
    told = stands(bench)
    assert (told["state"], told["drift"], told["run_id"]) == ("stands", [], run.id)
    assert told["resources"] == ["terraform_data.database"]
    assert result_of(bench, "drift_repair", run)["state"] == "stands"
    assert bench.work(bench.propose("drift_repair")).reason == "no_changes"


def test_where_nothing_drifted_nothing_is_done(bench: Bench) -> None:
    run = bench.work(bench.propose("drift_repair"))
    assert (run.state, run.reason) == ("discarded", "no_changes")
    assert bench.world.provisioner.applied == []


def test_what_is_overdue_keeps_a_stack_from_its_repair_and_not_from_a_look(bench: Bench) -> None:
    meddle(bench)
    owing = [{"at": instant(bench.world.clock.now()), "level": "no_new_resources"}]
    with bench.world.store.write() as connection:
        account: dict[str, Any] = {
            "collection_paused": False,
            "never_suspend": False,
            "running": [],
        }
        connection.execute(billing_account.insert().values(tenant=TENANT, gates=owing, **account))
    assert bench.refused("drift_repair") == "payment_overdue"
    assert bench.do("drift_check").state == "applied"


def test_a_plan_that_no_longer_fits_is_not_applied(bench: Bench) -> None:
    meddle(bench)
    run_id = bench.propose("drift_repair")
    bench.work_until_killed(run_id, "drift_repair.provision.before")
    meddle(bench, size="medium", plan="other")
    run = bench.work(run_id)
    assert (run.state, bench.world.provisioner.applied) == ("failed", [])


def test_support_may_read_and_ask_for_neither(bench: Bench) -> None:
    (told,) = bench.ask("infrastructure_list", SUPPORT)["result"]["stacks"]
    assert told["outputs"] is None
    (told,) = bench.ask("infrastructure_list")["result"]["stacks"]
    assert told["outputs"]["database"]["model"] == "pooled"


# Faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", sliced([one for one in CHECKING if UNDONE not in one], every=2))
def test_a_look_that_was_killed_is_finished_by_the_next_worker(bench: Bench, point: str) -> None:
    meddle(bench)
    run_id = bench.propose("drift_check")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert stands(bench)["state"] == "drifted"


@pytest.mark.parametrize("point", sliced([one for one in REPAIRING if UNDONE not in one], every=3))
def test_a_repair_that_was_killed_is_finished_once_by_the_next_worker(
    bench: Bench, point: str
) -> None:
    meddle(bench)
    run_id = bench.propose("drift_repair")
    bench.work_until_killed(run_id, point)
    bench.world.clock.advance(timedelta(seconds=1))
    assert bench.work(run_id).state == "applied"
    assert (stands(bench)["state"], bench.world.provisioner.applied) == ("stands", [TENANT])


@pytest.mark.parametrize("point", sliced([one for one in CHECKING if UNDONE in one], every=3))
def test_a_look_that_failed_leaves_what_was_known(bench: Bench, point: str) -> None:
    meddle(bench)
    before = stands(bench)
    run_id = bench.propose("drift_check")
    bench.work_until_killed(run_id, point, "drift_check.note.before")
    assert bench.work(run_id).state == "compensated"
    assert stands(bench) == before


def test_a_repair_that_does_not_hold_is_not_called_one(bench: Bench) -> None:
    meddle(bench)
    run_id = bench.propose("drift_repair")
    bench.work_until_killed(run_id, "drift_repair.provision.recorded")
    meddle(bench)
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("failed", "residue")
    assert "stack_not_ready" in run.detail


@pytest.mark.parametrize("tool", ["drift_check", "drift_repair"])
def test_who_changed_their_mind_before_anything_was_done_is_heard(bench: Bench, tool: str) -> None:
    meddle(bench)
    run_id = bench.propose(tool)
    asked = bench.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())
    assert asked["outcome"] == "done"
    assert bench.work(run_id).state == "canceled"
    assert bench.world.provisioner.applied == []


def test_what_has_begun_to_be_repaired_is_no_longer_canceled(bench: Bench) -> None:
    meddle(bench)
    run_id = bench.propose("drift_repair")
    bench.work_until_killed(run_id, "drift_repair.provision.dispatched")
    asked = bench.ask("run_cancel", run_id=run_id, idempotency_key=fresh_key())
    assert (asked["outcome"], asked["code"]) == ("refused", "not_cancelable")


def test_another_run_holds_the_tenant_from_a_look(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    asked = {"tenant": TENANT, "idempotency_key": fresh_key()}
    answered = bench.ask("drift_check", **asked)
    assert (answered["outcome"], answered["run_id"]) == ("conflict", run_id)
