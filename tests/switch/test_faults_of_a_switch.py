"""What stands in a catalog's way, before its switch and behind it, and what then holds. Not kills of the worker at each boundary."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import select

from control_plane.domain.canonical import instant
from control_plane.facts.load import approval_row
from control_plane.handlers.catalog_in_force import put_in_force
from control_plane.store import tables
from server.auditing import Auditing
from server.catalog_applying import ask, opened_front
from server.clock import SystemClock
from server.replaying import about, replaying
from server.wiring import Face, face_ports
from server.worker_state import read_state
from tests.support.house import Token, fresh_key, fresh_name
from tests.support.onboarding import ask as call
from tests.support.onboarding import contact, follow, onboarding, park
from tests.support.switching import Operator
from tests.support.waiting import until
from tests.support.workers import RunningWorker, running_worker
from tests.switch.fleet import RUN_S, Fleet, opened_fleet

HERE: Final = "of-pooled"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Fleet]:
    """One workspace in files with a tenant; at the end its whole log is held against its rows."""
    folder = tmp_path_factory.mktemp("faults") / "house"
    with opened_fleet(folder, cerbos_binary, None, ("pooled",)) as made:
        yield made
        with running_worker(made.house):
            made.assert_log_intact()
        made.assert_no_engine_left()


@pytest.fixture
def fleet(opened: Fleet) -> Fleet:
    """The same; the working files are as what is in force."""
    opened.back()
    return opened


@pytest.fixture
def calls(fleet: Fleet) -> Iterator[Face]:
    """A face that stays open, for records."""
    with fleet.house.face(fleet.support) as face:
        yield face


@pytest.fixture
def admin(fleet: Fleet) -> Iterator[Face]:
    """A face that stays open, for tenants and runs."""
    with fleet.house.face(fleet.operator.token) as face:
        yield face


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """An edit of one of the catalog's files."""

    def edit(catalog: Path) -> None:
        file = catalog / name
        told = file.read_text()
        assert old in told
        file.write_text(told.replace(old, new, 1))

    return edit


def longest(fleet: Fleet) -> str:
    """A name of as many characters as the catalog in force allows."""
    (found,) = (one for one in fleet.declared(fleet.in_force()[0]) if one.name == "contacts")
    return "x" * found.fields["full_name"].length_max


def narrowed(fleet: Fleet) -> str:
    """A catalog that allows a name one character less; its digest."""
    count = len(longest(fleet))
    file, old = (
        "collections/contacts.yaml",
        f"full_name:\n    kind: string\n    max_length: {count}",
    )
    return fleet.operator.changed(replaced(file, old, old.replace(str(count), str(count - 1))))


def without_plan(name: str) -> Callable[[Path], None]:
    """An edit that no longer offers a plan, the file's first or last one."""

    def edit(catalog: Path) -> None:
        file = catalog / "plans.yaml"
        head, *offers = file.read_text().split("  - name: ")
        kept = [offer for offer in offers if not offer.startswith(f"{name}\n")]
        assert len(kept) < len(offers)
        file.write_text("  - name: ".join([head, *kept]))

    return edit


@contextmanager
def held_at(fleet: Fleet, point: str) -> Generator[RunningWorker]:
    """A worker whose run stays at a boundary for good; killed with the block, which releases it."""
    with running_worker(fleet.house, "--failpoints", f"apply_catalog.{point}:1:hang") as worker:
        yield worker
        worker.kill()


def approved(fleet: Fleet, digest: str, step: str, asker: Token | None = None) -> str:
    """Ask for a catalog, approve it, and wait until a step is done; the run's id."""
    token = fleet.operator.token if asker is None else asker
    run_id = Operator(fleet.house, token).ask(digest)
    fleet.operator.approve(run_id)
    fleet.came_to(run_id, step, "succeeded")
    return run_id


def refused(fleet: Fleet, digest: str) -> str | None:
    """Ask for a catalog that is refused at once; the code."""
    house, token = fleet.house, fleet.operator.token
    with opened_front(house.workspace, house.settings, token.file) as (front, _):
        outcome = ask(front, digest, fresh_key())
    assert outcome.outcome == "refused", outcome
    return outcome.code


def contacts(face: Face) -> list[dict[str, Any]]:
    """The records of the tenant."""
    told = call(face, "record_query", tenant=HERE, collection="contacts")
    found: list[dict[str, Any]] = told["result"]["records"]
    return found


def too_long(face: Face, name: str) -> str | None:
    """What is said of a record with a name of too many characters."""
    told = {"tenant": HERE, "collection": "contacts", "values": contact(full_name=name)}
    return face.front.call("record_create", {**told, "idempotency_key": fresh_key()}).bad_input


def renamed(face: Face, old: str, new: str) -> None:
    """Give every record of one name another."""
    for row in contacts(face):
        if row["full_name"] == old:
            told = {"id": row["id"], "version": row["version"], "values": {"full_name": new}}
            answered = call(
                face,
                "record_update",
                tenant=HERE,
                collection="contacts",
                idempotency_key=fresh_key(),
                **told,
            )
            assert answered["outcome"] == "done", answered


# before the switch -------------------------------------------------------------------------------


def test_a_change_that_no_database_follows_is_refused_before_anyone_is_asked(fleet: Fleet) -> None:
    (before, _) = fleet.in_force()
    no_way = replaced("collections/contacts.yaml", "kind: money\n    currency: EUR", "kind: date")
    digest = fleet.operator.changed(no_way)
    with running_worker(fleet.house):
        run = fleet.to_its_end(fleet.operator.ask(digest))
    assert (run.state, run.reason, run.approval_id) == ("discarded", "evolution_refused", None)
    fleet.assert_served_alone(before, fleet.another())


def test_a_plan_that_tenants_have_cannot_go(fleet: Fleet) -> None:
    (before, _) = fleet.in_force()
    digest = fleet.operator.changed(without_plan("free"))
    with running_worker(fleet.house):
        run = fleet.to_its_end(fleet.operator.ask(digest))
    assert (run.state, run.reason, run.approval_id) == ("failed", "plan_in_use", None)
    assert fleet.in_force() == (before, None)


@pytest.mark.sweep
def test_a_plan_that_is_subscribed_to_while_humans_are_asked_cannot_go_either(
    fleet: Fleet, admin: Face
) -> None:
    (before, _), tenant = fleet.in_force(), fresh_name()
    digest = fleet.operator.changed(without_plan("team"))
    with running_worker(fleet.house):
        run_id = fleet.operator.ask(digest)
        fleet.operator.follow(run_id, {"awaiting_approval"})
        asked = onboarding(tenant, plan="team", isolation="bridge")
        follow(admin, call(admin, "tenant_onboard", **asked)["run_id"], {"applied"}, RUN_S)
        fleet.tenants[tenant] = "bridge"
        run = fleet.to_its_end(run_id)
    assert (run.state, run.reason) == ("compensated", "plan_in_use")
    fleet.assert_served_alone(before, fleet.another())


@pytest.mark.sweep
def test_rows_that_do_not_fit_end_it_before_the_switch(fleet: Fleet, calls: Face) -> None:
    (before, _), name, digest = fleet.in_force(), longest(fleet), narrowed(fleet)
    with running_worker(fleet.house):
        assert fleet.add(calls, HERE, full_name=name)["outcome"] == "done"
        run = fleet.to_its_end(fleet.operator.ask(digest))
        renamed(calls, name, "Ada")
    assert (run.state, run.reason) == ("compensated", "rows_do_not_fit")
    fleet.assert_served_alone(before, digest)


def test_a_second_policy_engine_that_does_not_start_takes_all_back_while_calls_go_on(
    fleet: Fleet, calls: Face, tmp_path: Path
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    broken, program = tmp_path / "broken", tmp_path / "cerbos"
    program.write_text(
        f'#!/bin/sh\n[ -e "{broken}" ] && [ "$1" = server ] && exit 3\n'
        f'exec "{fleet.house.cerbos}" "$@"\n'
    )
    program.chmod(0o700)
    with running_worker(replace(fleet.house, cerbos=program)):
        run_id = fleet.operator.ask(fresh)
        fleet.operator.follow(run_id, {"awaiting_approval"})
        broken.touch()
        fleet.operator.approve(run_id)
        run = fleet.to_its_end(run_id)
        assert fleet.add(calls, HERE)["outcome"] == "done"
    assert (run.state, run.reason) == ("compensated", "catalog_not_ready")
    assert fleet.steps(run_id) == {"expand": "undone", "ready": "undone"}
    fleet.assert_served_alone(before, fresh)


@pytest.mark.sweep
def test_who_asks_it_to_stop_before_the_switch_has_all_taken_back(
    fleet: Fleet, admin: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    with held_at(fleet, "ready.recorded"):
        run_id = approved(fleet, fresh, "ready")
        told = call(admin, "run_cancel", run_id=run_id, idempotency_key=fresh_key())
        assert told["outcome"] == "done", told
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
    assert (run.state, run.reason) == ("compensated", "canceled")
    fleet.assert_served_alone(before, fresh)


@pytest.mark.sweep
def test_a_grant_that_ends_before_the_switch_takes_all_back(fleet: Fleet) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    asker = fleet.house.issue("platform_admin", "*", principal="olga", actor=None)
    with held_at(fleet, "ready.recorded"):
        run_id = approved(fleet, fresh, "ready", asker)
        fleet.house.revoke(asker)
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
    assert (run.state, run.reason) == ("compensated", "grant_ended")
    fleet.assert_served_alone(before, fresh)


# beside it ---------------------------------------------------------------------------------------


@pytest.mark.sweep
def test_what_waits_for_an_approval_is_void_and_what_comes_meanwhile_goes_on_behind_it(
    fleet: Fleet, admin: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    parked, waiting = fresh_name(), fresh_name()
    with held_at(fleet, "expand.done"):
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


@pytest.mark.sweep
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


@pytest.mark.sweep
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


# behind it ---------------------------------------------------------------------------------------


def test_rows_written_too_late_keep_the_old_shape_until_they_are_mended(
    fleet: Fleet, calls: Face
) -> None:
    (before, _), name, fresh = fleet.in_force(), longest(fleet), narrowed(fleet)
    with held_at(fleet, "switch.before"):
        run_id = approved(fleet, fresh, "ready")
        assert fleet.add(calls, HERE, full_name=name)["outcome"] == "done"
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
        assert run.state == "failed", run
        assert run.detail is not None
        assert "rows_do_not_fit" in run.detail
        assert HERE in run.detail
        assert fleet.in_force() == (fresh, before)
        assert set(fleet.serving(fresh).values()) == {"ready"}

        assert name in {row["full_name"] for row in contacts(calls)}
        assert fleet.add(calls, HERE)["outcome"] == "done"
        assert too_long(calls, name) == "values.full_name: string too long"
        assert refused(fleet, fleet.another()) == "catalog_half_applied"

        again = fleet.to_its_end(fleet.operator.ask(fresh))
        assert (again.state, again.reason) == ("compensated", "rows_do_not_fit")
        assert fleet.in_force() == (fresh, before)
        assert set(fleet.serving(fresh).values()) == {"ready"}

        renamed(calls, name, "Ada")
        mended = fleet.to_its_end(fleet.operator.ask(fresh))
        assert mended.state == "applied", mended
        fleet.assert_served_alone(fresh, before)


@pytest.mark.sweep
def test_a_grant_that_ends_behind_the_switch_leaves_the_rest_to_who_applies_it_again(
    fleet: Fleet, calls: Face
) -> None:
    (before, _), fresh = fleet.in_force(), fleet.another()
    asker = fleet.house.issue("platform_admin", "*", principal="olga", actor=None)
    with held_at(fleet, "switch.recorded"):
        run_id = approved(fleet, fresh, "switch", asker)
        fleet.house.revoke(asker)
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
        assert run.state == "failed", run
        assert run.detail is not None
        assert "grant_ended" in run.detail
        assert fleet.in_force() == (fresh, before)
        assert fleet.add(calls, HERE)["outcome"] == "done"
        assert refused(fleet, before) == "catalog_half_applied"
        assert fleet.to_its_end(fleet.operator.ask(fresh)).state == "applied"
    fleet.assert_served_alone(fresh, before)


@pytest.mark.sweep
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
