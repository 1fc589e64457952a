"""A run that is asked to stop: heard as long as all that it did can be undone, and refused from then on."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from control_plane.handlers.registry import LIFECYCLES
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, Bench
from tests.support.offboarding import approved, assert_gone, lift

ABSENT = "0" * 32
STRANGER = "olga"


def cancel(bench: Bench, run_id: str, who: str = "alice", **arguments: Any) -> dict[str, Any]:
    asked = {"run_id": run_id, "idempotency_key": fresh_key(), **arguments}
    return bench.ask("run_cancel", who, **asked)


def test_a_run_is_canceled_right_before_what_cannot_be_undone(bench: Bench) -> None:
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, "offboard.drop_database.before")
    assert cancel(bench, run_id)["outcome"] == "done"
    run = bench.work(run_id)
    assert (run.state, run.reason) == ("compensated", "canceled")
    assert bench.standing == ("suspended", ["operator"], "none")


@pytest.mark.long
@pytest.mark.slice_of(3)
@pytest.mark.parametrize(
    "boundary", ["drop_database.dispatched", "drop_database.recorded", "destroy.done"]
)
def test_a_run_that_has_begun_what_cannot_be_undone_is_not_cancelable(
    bench: Bench, boundary: str
) -> None:
    lift(bench)
    run_id = approved(bench)
    bench.work_until_killed(run_id, f"offboard.{boundary}")
    for who in ("alice", ADMIN):
        for dry_run in (True, False):
            answered = cancel(bench, run_id, who, dry_run=dry_run)
            assert (answered["outcome"], answered["code"]) == ("refused", "not_cancelable")
    assert not bench.world.run(run_id).cancel_requested
    assert bench.work(run_id).state == "applied"
    assert_gone(bench)


@pytest.mark.long
def test_nor_is_one_that_has_only_its_end_to_write(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    bench.work_until_killed(run_id, "suspend.finish.recorded")
    assert bench.world.run(run_id).state == "applying"
    assert cancel(bench, run_id)["code"] == "not_cancelable"
    assert bench.work(run_id).state == "applied"


def test_every_kind_of_run_ends_with_what_cannot_be_undone() -> None:
    # So there is one point in each run from which on it is refused, and it never comes back.
    for lifecycle in LIFECYCLES.values():
        final = [step.irreversible for step in lifecycle.steps]
        assert final == sorted(final), lifecycle.kind
        assert final[-1], lifecycle.kind


def test_a_run_that_is_there_and_one_that_is_not_cost_the_same(bench: Bench) -> None:
    run_id = bench.propose("tenant_suspend", reason="operator")
    bench.work_until_killed(run_id, "suspend.finish.recorded")
    bench.world.grant(STRANGER, "operator", actor="olga-bot")
    costs: list[int] = []
    for asked in (run_id, ABSENT):
        # The first call about a tenant makes the key that its leaves are sealed to.
        told = cancel(bench, asked, STRANGER)
        statements: list[object] = []

        def count(*_: Any, statements: list[object] = statements) -> None:
            statements.append(None)

        event.listen(Engine, "before_cursor_execute", count)
        try:
            assert cancel(bench, asked, STRANGER) == told
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        assert told["outcome"] == "not_found"
        costs.append(len(statements))
    assert costs[0] == costs[1]
