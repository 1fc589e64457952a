"""What a catalog is refused for, before its switch and behind it, and what then holds. Not what goes on beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from server.wiring import Face
from tests.support.house import fresh_key, fresh_name
from tests.support.onboarding import ask as call
from tests.support.onboarding import contact, follow, onboarding
from tests.support.workers import running_worker
from tests.switch.fleet import RUN_S, Fleet, replaced

HERE: Final = "of-pooled"


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


@pytest.mark.long
def test_a_change_that_no_database_follows_is_refused_before_anyone_is_asked(fleet: Fleet) -> None:
    (before, _) = fleet.in_force()
    no_way = replaced("collections/contacts.yaml", "kind: money\n    currency: EUR", "kind: date")
    digest = fleet.operator.changed(no_way)
    with running_worker(fleet.house):
        run = fleet.to_its_end(fleet.operator.ask(digest))
    assert (run.state, run.reason, run.approval_id) == ("discarded", "evolution_refused", None)
    fleet.assert_served_alone(before, fleet.another())


@pytest.mark.long
def test_a_plan_that_tenants_have_cannot_go(fleet: Fleet) -> None:
    (before, _) = fleet.in_force()
    digest = fleet.operator.changed(without_plan("free"))
    with running_worker(fleet.house):
        run = fleet.to_its_end(fleet.operator.ask(digest))
    assert (run.state, run.reason, run.approval_id) == ("failed", "plan_in_use", None)
    assert fleet.in_force() == (before, None)


@pytest.mark.long
def test_a_version_of_a_plan_is_never_edited(fleet: Fleet) -> None:
    (before, _) = fleet.in_force()
    digest = fleet.operator.changed(replaced("plans.yaml", "seats_max: 3", "seats_max: 4"))
    with running_worker(fleet.house):
        run = fleet.to_its_end(fleet.operator.ask(digest))
    assert (run.state, run.reason, run.approval_id) == ("failed", "plan_edited", None)
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


@pytest.mark.long
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
def test_rows_written_too_late_keep_the_old_shape_until_they_are_mended(
    fleet: Fleet, calls: Face
) -> None:
    (before, _), name, fresh = fleet.in_force(), longest(fleet), narrowed(fleet)
    with fleet.held_at("switch.before"):
        run_id = fleet.approved(fresh, "ready")
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
        assert fleet.refused(fleet.another()) == "catalog_half_applied"

        again = fleet.to_its_end(fleet.operator.ask(fresh))
        assert (again.state, again.reason) == ("compensated", "rows_do_not_fit")
        assert fleet.in_force() == (fresh, before)
        assert set(fleet.serving(fresh).values()) == {"ready"}

        renamed(calls, name, "Ada")
        mended = fleet.to_its_end(fleet.operator.ask(fresh))
        assert mended.state == "applied", mended
        fleet.assert_served_alone(fresh, before)
