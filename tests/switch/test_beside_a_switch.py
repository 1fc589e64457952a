"""What happens beside a catalog's switch: runs and tenants that come, a grant that ends, a stop. Not what it is refused for."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest
from sqlalchemy import select

from control_plane.domain.canonical import instant
from control_plane.facts.load import approval_row
from control_plane.handlers.catalog_in_force import put_in_force
from control_plane.store import tables
from server.auditing import Auditing
from server.clock import SystemClock
from server.replaying import about, replaying
from server.wiring import Face, face_ports
from server.worker_state import read_state
from tests.support.house import fresh_key, fresh_name
from tests.support.onboarding import ask as call
from tests.support.onboarding import follow, onboarding, park
from tests.support.waiting import until
from tests.support.workers import running_worker
from tests.switch.fleet import RUN_S, Fleet, replaced

HERE: Final = "of-pooled"
BEATS: Final = 3
pytestmark = pytest.mark.sweep


def test_who_asks_it_to_stop_before_the_switch_has_all_taken_back(
    fleet: Fleet, admin: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    with fleet.held_at("ready.recorded"):
        run_id = fleet.approved(fresh, "ready")
        told = call(admin, "run_cancel", run_id=run_id, idempotency_key=fresh_key())
        assert told["outcome"] == "done", told
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
    assert (run.state, run.reason) == ("compensated", "canceled")
    fleet.assert_served_alone(before, fresh)


def test_a_grant_that_ends_before_the_switch_takes_all_back(fleet: Fleet) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    asker = fleet.house.issue("platform_admin", "*", actor=None)
    with fleet.held_at("ready.recorded"):
        run_id = fleet.approved(fresh, "ready", asker)
        fleet.house.revoke(asker)
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
    assert (run.state, run.reason) == ("compensated", "grant_ended")
    fleet.assert_served_alone(before, fresh)


def test_a_grant_that_ends_behind_the_switch_leaves_the_rest_to_who_applies_it_again(
    fleet: Fleet, calls: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    asker = fleet.house.issue("platform_admin", "*", actor=None)
    with fleet.held_at("switch.recorded"):
        run_id = fleet.approved(fresh, "switch", asker)
        fleet.house.revoke(asker)
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
        assert run.state == "failed", run
        assert run.detail is not None
        assert "grant_ended" in run.detail
        assert fleet.in_force() == (fresh, before)
        assert fleet.add(calls, HERE)["outcome"] == "done"
        assert fleet.refused(before) == "catalog_half_applied"
        assert fleet.to_its_end(fleet.operator.ask(fresh)).state == "applied"
    fleet.assert_served_alone(fresh, before)


def test_a_database_that_is_busy_for_a_while_is_waited_for(fleet: Fleet) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    with running_worker(fleet.house):
        run_id = fleet.operator.ask(fresh)
        fleet.operator.follow(run_id, {"awaiting_approval"})
        with fleet.databases.transaction(HERE, "pooled"):
            fleet.operator.approve(run_id)
            fleet.came_to(run_id, "expand", "dispatched")
            # Longer than one statement waits for a database.
            until(partial(_beats, fleet, run_id, set()), "it goes on waiting", RUN_S)
        assert fleet.to_its_end(run_id).state == "applied"
    fleet.assert_served_alone(fresh, before)


def _beats(fleet: Fleet, run_id: str, seen: set[str]) -> bool:
    seen.add(fleet.run(run_id).heartbeat_at or "")
    return len(seen) >= BEATS


def test_one_that_could_not_be_taken_back_is_brought_to_its_end_by_applying_it_again(
    fleet: Fleet, calls: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    options = ("--failpoints", "apply_catalog.switch.before:1:raise")
    broken = ("--failpoints", "apply_catalog.expand.undo_before:1:raise")
    with running_worker(fleet.house, *options, *broken):
        run = fleet.to_its_end(fleet.operator.ask(fresh))
        assert run.state == "compensation_failed", run
        assert fleet.in_force() == (before, None)
        assert fleet.add(calls, HERE)["outcome"] == "done"
        another = fleet.to_its_end(fleet.operator.ask(fleet.another()))
        assert (another.state, another.reason) == ("compensated", "schema_differs")
        again = fleet.to_its_end(fleet.operator.ask(fresh))
        assert again.state == "applied", again
    fleet.assert_served_alone(fresh, before)


def test_what_waits_for_an_approval_is_void_and_what_comes_meanwhile_goes_on_behind_it(
    fleet: Fleet, admin: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    parked, waiting = fresh_name(), fresh_name()
    with fleet.held_at("expand.done"):
        asked_before = park(admin, parked)
        run_id = fleet.operator.ask(fresh)
        fleet.operator.approve(run_id)
        fleet.came_to(run_id, "expand", "dispatched")
        asked = call(admin, "tenant_onboard", **onboarding(waiting))["run_id"]
        until(lambda: _put_off(fleet, asked), "the run is looked at, and put off", RUN_S)
        assert fleet.run(asked).state == "pending"
    with running_worker(fleet.house):
        assert fleet.to_its_end(run_id).state == "applied"
        follow(admin, asked, {"applied"}, RUN_S)
        fleet.tenants[waiting] = "pooled"
        void = until(
            lambda: _discarded(fleet, asked_before["run_id"]), "the plan holds no more", RUN_S
        )
    assert void == "digest_changed"
    with fleet.store.read() as connection:
        approval = approval_row(connection, asked_before["approval_id"])
    assert approval is not None
    assert approval.state == "void"
    fleet.assert_served_alone(fresh, before)


def _put_off(fleet: Fleet, run_id: str) -> bool:
    job = tables.job
    with fleet.store.read() as connection:
        states = connection.execute(select(job.c.state).where(job.c.run_id == run_id)).scalars()
        return set(states) == {"finished"}


def _discarded(fleet: Fleet, run_id: str) -> str | None:
    run = fleet.run(run_id)
    return run.reason if run.state == "discarded" else None


def test_a_tenant_that_came_between_two_catalogs_has_the_second_one(
    fleet: Fleet, admin: Face
) -> None:
    tenant = fresh_name()
    with running_worker(fleet.house):
        first = fleet.another()
        assert fleet.to_its_end(fleet.operator.ask(first)).state == "applied"
        fleet.onboard(admin, tenant, "bridge")
        second = fleet.another()
        assert fleet.to_its_end(fleet.operator.ask(second)).state == "applied"
    fleet.assert_served_alone(second, first)


def test_a_worker_goes_over_by_itself_where_the_store_has_moved_on(
    fleet: Fleet, calls: Face
) -> None:
    (before, _) = fleet.in_force()
    said_anew = replaced("collections/contacts.yaml", "description: ", "description: All ")
    fresh = fleet.operator.changed(said_anew)
    state_file, now = fleet.house.workspace.worker_json, instant(SystemClock().now())
    ports = face_ports(fleet.house.workspace, fleet.house.settings, fleet.store)
    with running_worker(fleet.house):
        # As where the store took the switch, and its answer was lost.
        with fleet.store.write() as connection:
            put_in_force(connection, ports.recorder, fresh, "", now)
        until(lambda: getattr(read_state(state_file), "catalog", "") == fresh, "it has gone over")
        assert fleet.add(calls, HERE)["outcome"] == "done"
    ports.databases.close()
    assert fleet.in_force() == (fresh, None)
    assert before != fresh


def test_what_was_recorded_of_it_replays_to_the_same_digests(fleet: Fleet) -> None:
    with running_worker(fleet.house):
        run_id = fleet.operator.ask(fleet.another())
        assert fleet.to_its_end(run_id).state == "applied"
        fleet.assert_log_intact()
    entries = about(Auditing(fleet.house.workspace, fleet.store).newest(1_000, opened=True), run_id)
    ports = face_ports(fleet.house.workspace, fleet.house.settings, fleet.store)
    with replaying(fleet.house.workspace, fleet.house.settings, ports) as replay:
        lines = list(replay.lines(entries))
    ports.databases.close()
    assert [line.why for line in lines if line.said is None] == []
    assert all(line.said is not None and line.said.same for line in lines), lines
    assert {"run.awaiting_approval"} <= {line.entry.leaf.kind for line in lines}
