"""A move of a living tenant, to the end, called off, failed and killed: where it stands, and with which rows."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.home import Home
from control_plane.handlers.registry import failpoint_names
from graphs.passage import Passage
from graphs.steps import Steps
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import SUPPORT, Bench
from tests.support.moving import Act, approved, databases, meanwhile, moves, resumed
from tests.support.offboarding import found, records, unvouched
from tests.support.onboarding import contact
from tests.support.slices import sliced

MOVING = [one for one in failpoint_names() if one.startswith("move.")]
UNDONE = ".undo_"
# Behind the cutover there is only forward.
BEHIND = ("move.cutover.", "move.retire.", "move.finish.")
BEFORE = [one for one in MOVING if UNDONE not in one and not one.startswith(BEHIND)]
FORWARD = [one for one in MOVING if UNDONE not in one]
BRIDGE = Home("bridge")
# Where a record may be added while the tenant moves; from the freeze on nobody may.
OPEN_UNTIL_FREEZE = (
    "move.begin.recorded",
    "move.target.done",
    "move.capture.done",
    "move.copy.before",
    "move.copy.done",
    "move.follow.done",
)


def ids(rows: list[dict[str, Any]]) -> set[str]:
    """The records' ids."""
    return {str(one["id"]) for one in rows}


def adding(bench: Bench, told: set[str]) -> Act:
    """Adds a record by a call, and writes down which."""

    def add() -> None:
        answered = bench.create()
        assert answered["outcome"] == "done", answered
        told.add(str(answered["result"]["record"]["id"]))

    return add


def assert_moved(bench: Bench, home: Home, ledger: set[str]) -> None:
    """The tenant is in service at the home with just these records, and what it left is closed."""
    assert (bench.tenant.state, bench.tenant.home) == ("active", home)
    assert ids(found(bench)) == ledger
    stands = databases(bench)
    assert set(stands) == {"serving", "former"}
    assert (stands["serving"].home, stands["serving"].state) == (home, "available")
    left = stands["former"].home
    assert bench.world.ports.databases.at(left).open_at(TENANT, left.isolation) is None
    assert bench.create()["outcome"] == "done"
    assert unvouched(bench) == []


def assert_stayed(bench: Bench, ledger: set[str], home: Home) -> None:
    """The tenant is in service where it was with just these records, and nothing else is there."""
    assert (bench.tenant.state, bench.tenant.home) == ("active", Home("pooled"))
    assert ids(found(bench)) == ledger
    assert set(databases(bench)) == {"serving"}
    assert not bench.world.ports.databases.at(home).exists(TENANT, home.isolation)
    assert (TENANT, home.isolation) not in bench.world.provisioner._stacks
    assert bench.create()["outcome"] == "done"
    assert unvouched(bench) == []


# To the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["bridge", "silo"])
def test_a_tenant_that_is_moved_has_its_records_there(bench: Bench, isolation: Any) -> None:
    ledger = ids(records(bench, 3))
    run = resumed(bench, approved(bench, isolation=isolation))
    assert run.state == "applied", run
    assert_moved(bench, Home(isolation), ledger)
    (move,) = moves(bench)
    assert (move.state, move.records) == ("observing", 3)
    assert move.frozen_ms is not None


@pytest.mark.long
def test_calls_go_on_until_the_freeze_and_none_is_lost(bench: Bench) -> None:
    ledger = ids(records(bench, 2))
    add = adding(bench, ledger)
    run = meanwhile(
        bench, approved(bench, isolation="bridge"), dict.fromkeys(OPEN_UNTIL_FREEZE, add)
    )
    assert run.state == "applied", run
    assert len(ledger) == 2 + len(OPEN_UNTIL_FREEZE)
    assert_moved(bench, BRIDGE, ledger)


@pytest.mark.long
def test_from_the_freeze_to_the_cutover_a_change_is_told_to_come_again_and_a_read_is_answered(
    bench: Bench,
) -> None:
    ledger = ids(records(bench, 2))
    said: list[tuple[Any, ...]] = []

    def try_both() -> None:
        told = bench.create()
        said.append(tuple(told[one] for one in ("outcome", "code", "retryable", "retry_after_s")))
        assert ids(found(bench)) == ledger

    points = ("move.freeze.done", "move.settle.before", "move.settle.done", "move.cutover.before")
    run = meanwhile(bench, approved(bench, isolation="bridge"), dict.fromkeys(points, try_both))
    assert run.state == "applied", run
    assert said == [("failed", "tenant_moving", True, 1)] * len(points)
    assert_moved(bench, BRIDGE, ledger)


def test_a_call_that_came_into_the_freeze_passes_afterwards_under_its_key(bench: Bench) -> None:
    asked = {
        "tenant": TENANT,
        "collection": "contacts",
        "values": contact(),
        "idempotency_key": fresh_key(),
    }
    told: list[dict[str, Any]] = []

    def call() -> None:
        told.append(bench.ask("record_create", SUPPORT, **asked))

    run = meanwhile(bench, approved(bench, isolation="bridge"), {"move.settle.before": call})
    assert run.state == "applied", run
    call()
    assert [one.get("code") for one in told] == ["tenant_moving", None]
    assert told[1]["outcome"] == "done"
    assert ids(found(bench)) == {str(told[1]["result"]["record"]["id"])}
    # Once it has passed it is answered, and not made again.
    call()
    assert told[2]["result"]["record"]["id"] == told[1]["result"]["record"]["id"]


@pytest.mark.long
def test_a_call_that_was_decided_before_the_cutover_is_told_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = approved(bench, isolation="bridge")
    bench.work_until_killed(run_id, "move.follow.done")
    plan_change = Steps.plan_change

    def late(steps: Steps, passage: Passage) -> None:
        plan_change(steps, passage)
        monkeypatch.undo()
        assert resumed(bench, run_id).state == "applied"

    monkeypatch.setattr(Steps, "plan_change", late)
    told = bench.create()
    assert (told["code"], told["retry_after_s"]) == ("tenant_moving", 1)
    assert bench.create()["outcome"] == "done"


def test_rows_that_are_closed_for_another_reason_are_no_move(bench: Bench) -> None:
    home = bench.tenant.home
    engine = bench.world.ports.databases.at(home)
    engine.fence(TENANT, home.isolation, bench.data_epoch, open=False)
    told = bench.create()
    assert (told["outcome"], told["code"], "retry_after_s" in told) == ("refused", "fenced", False)


@pytest.mark.long
def test_a_service_that_writes_to_the_file_itself_is_followed_and_told_when_it_may_not(
    bench: Bench,
) -> None:
    ledger = ids(records(bench, 2))
    file = bench.world.workspace.data / "pooled.db"

    def rename(name: str) -> str | None:
        service = sqlite3.connect(file, isolation_level=None)
        try:
            service.execute("UPDATE contacts SET full_name = ? WHERE tenant_id = ?", (name, TENANT))
        except sqlite3.DatabaseError as error:
            return str(error)
        finally:
            service.close()
        return None

    told: list[str | None] = []
    run = meanwhile(
        bench,
        approved(bench, isolation="bridge"),
        {
            "move.copy.done": lambda: told.append(rename("Grace")),
            "move.freeze.done": lambda: told.append(rename("Nobody")),
            "move.finish.before": lambda: told.append(rename("Nobody")),
        },
    )
    assert run.state == "applied", run
    assert told[0] is None
    assert all("read-only" in str(one) for one in told[1:])
    answered = bench.ask("record_query", SUPPORT, tenant=TENANT, collection="contacts")
    assert {one["full_name"] for one in answered["result"]["records"]} == {"Grace"}
    assert_moved(bench, BRIDGE, ledger)


@pytest.mark.long
def test_a_tenant_comes_back_with_what_it_has_written_since(bench: Bench) -> None:
    ledger = ids(records(bench, 2))
    assert resumed(bench, approved(bench, isolation="bridge")).state == "applied"
    adding(bench, ledger)()
    run = resumed(bench, approved(bench, isolation="pooled"))
    assert run.state == "applied", run
    assert (bench.tenant.home, ids(found(bench))) == (Home("pooled", slot=1), ledger)


@pytest.mark.long
def test_a_move_back_that_fails_leaves_the_stack_of_what_was_kept(bench: Bench) -> None:
    ledger = ids(records(bench, 2))
    assert resumed(bench, approved(bench, isolation="bridge")).state == "applied"
    kept = databases(bench)["former"]
    back = resumed(bench, approved(bench, isolation="pooled"), "move.cutover.before")
    assert (back.state, bench.tenant.home) == ("compensated", BRIDGE)
    assert {model for _, model in bench.world.provisioner._stacks} == {"bridge", "pooled"}
    assert databases(bench)["former"] == kept
    again = resumed(bench, approved(bench, isolation="pooled"))
    assert (again.state, ids(found(bench))) == ("applied", ledger)


def test_a_dry_run_moves_nothing(bench: Bench) -> None:
    ledger = ids(records(bench, 1))
    answered = bench.work(bench.propose("tenant_move", isolation="bridge", dry_run=True))
    assert (answered.state, answered.reason) == ("discarded", "dry_run")
    assert answered.plan is not None
    assert answered.plan["parts"]["data"]["records"] == {"contacts": 1}  # type: ignore[index,call-overload]
    assert_stayed(bench, ledger, BRIDGE)


# What keeps from it ----------------------------------------------------------------------------


def test_who_stands_there_already_is_not_moved(bench: Bench) -> None:
    assert bench.refused("tenant_move", isolation="pooled") == "already_there"


def test_a_server_that_nobody_declared_is_refused(bench: Bench) -> None:
    assert bench.refused("tenant_move", isolation="pooled", server="eu2") == "server_unknown"


def test_a_suspended_tenant_is_not_moved(bench: Bench) -> None:
    bench.do("tenant_suspend", reason="operator")
    assert bench.refused("tenant_move", isolation="bridge") in ("tenant_state", "access_suspended")


@pytest.mark.long
def test_past_its_limit_a_freeze_is_lifted_and_the_tenant_stays(bench: Bench) -> None:
    ledger = ids(records(bench, 2))
    clock = bench.world.clock

    def late() -> None:
        clock.advance(timedelta(seconds=11))

    run = meanwhile(
        bench,
        approved(bench, isolation="bridge", max_freeze_s=10),
        {"move.freeze.recorded": late},
    )
    assert (run.state, run.reason) == ("compensated", "freeze_too_long")
    assert_stayed(bench, ledger, BRIDGE)
    assert [one.state for one in moves(bench)] == ["aborted"]


@pytest.mark.long
def test_what_passes_while_no_worker_is_there_counts_as_frozen(bench: Bench) -> None:
    ledger = ids(records(bench, 2))
    run_id = approved(bench, isolation="bridge", max_freeze_s=10)
    bench.work_until_killed(run_id, "move.freeze.done")
    bench.world.clock.advance(timedelta(seconds=11))
    run = resumed(bench, run_id)
    assert (run.state, run.reason) == ("compensated", "freeze_too_long")
    assert_stayed(bench, ledger, BRIDGE)


def test_a_move_that_was_called_off_leaves_the_tenant_where_it_was(bench: Bench) -> None:
    ledger = ids(records(bench, 2))
    run_id = approved(bench, isolation="bridge")
    run = meanwhile(
        bench,
        run_id,
        {
            "move.follow.done": lambda: bench.ask(
                "run_cancel", run_id=run_id, idempotency_key="cancel-1"
            )
        },
    )
    assert run.state in ("compensated", "canceled"), run
    assert_stayed(bench, ledger, BRIDGE)


# Faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", sliced(BEFORE, every=18))
def test_a_move_that_fails_leaves_the_tenant_where_it_was(bench: Bench, point: str) -> None:
    ledger = ids(records(bench, 2))
    run = resumed(bench, approved(bench, isolation="bridge"), point)
    if run.state == "applied":  # what passes is waited out
        assert_moved(bench, BRIDGE, ledger)
        return
    assert run.state in ("compensated", "failed"), run
    assert_stayed(bench, ledger, BRIDGE)


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(FORWARD, every=18))
def test_a_worker_that_died_anywhere_in_a_move_has_another_finish_it(
    bench: Bench, point: str
) -> None:
    ledger = ids(records(bench, 2))
    run_id = approved(bench, isolation="bridge")
    bench.work_until_killed(run_id, point)
    run = resumed(bench, run_id)
    if run.state == "applied":
        assert_moved(bench, BRIDGE, ledger)
        return
    assert run.state == "compensated", run
    assert_stayed(bench, ledger, BRIDGE)


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in MOVING if UNDONE in one], every=15))
def test_a_worker_that_died_anywhere_in_undoing_it_has_another_put_it_back(
    bench: Bench, point: str
) -> None:
    ledger = ids(records(bench, 2))
    run_id = approved(bench, isolation="bridge")
    bench.work_until_killed(run_id, point, "move.settle.done")
    assert resumed(bench, run_id).state == "compensated"
    assert_stayed(bench, ledger, BRIDGE)
