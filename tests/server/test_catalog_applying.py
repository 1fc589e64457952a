"""Following the run that applies a catalog: one key while it is active, each change told once. Not the run itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run, RunStep
from control_plane.errors import Failed
from control_plane.handlers.catalog_in_force import put_in_force
from control_plane.ports import Recorder
from control_plane.store import rows, tables
from server import catalog_applying
from server.catalog import load
from server.catalog_applying import (
    Progress,
    Working,
    follow,
    half_applied,
    keep_working,
    key_of,
    nothing_to_do,
    outcome_of,
)
from server.clock import SystemClock
from tests.support.house import House, build_house
from tools.operator_tools import OPERATOR_TOOLS
from tools.parsing import parse_arguments

NOW = "2030-01-01T09:00:00.000000Z"
OLD, NEW = "a" * 64, "b" * 64
PLAN: dict[str, Any] = {
    "parts": {"catalog": {"before": {"catalog": OLD}, "after": {"catalog": NEW}}}
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace; its tests take their runs away again."""
    return build_house(tmp_path_factory.mktemp("applying"), cerbos_binary)


@pytest.fixture
def put(house: House) -> Iterator[Callable[..., Run]]:
    """`put(state=...)`: a run that applies a catalog."""

    def one(run_id: str = "run-1", **values: Any) -> Run:
        given: dict[str, Any] = {
            "id": run_id,
            "call_id": "call",
            "principal": "alice",
            "actor": "alice",
            "grant_id": "grant",
            "tenant": "",
            "kind": "apply_catalog",
            "tool": "catalog_apply",
            "command": {"catalog": NEW},
            "state": "pending",
            "as_of": NOW,
            "seed": "seed",
            "dry_run": False,
            "created_at": NOW,
            "updated_at": NOW,
            "plan": PLAN,
        }
        run = Run.model_validate(given | values)
        with house.store() as store, store.write() as connection:
            rows.put(connection, tables.run, run)
        return run

    yield one
    with house.store() as store, store.write() as connection:
        connection.execute(delete(tables.run))
        connection.execute(delete(tables.run_step))


def alter(house: House, **values: Any) -> None:
    with house.store() as store, store.write() as connection:
        assert rows.change(connection, tables.run, tables.run.c.id != "", **values) > 0


def key(house: House, working: Working) -> str:
    with house.store() as store, store.read() as connection:
        return key_of(connection, working)


# the key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "awaiting_approval", "applying", "unknown"])
def test_the_same_key_is_used_while_the_run_is_active(
    house: House, put: Callable[..., Run], state: str
) -> None:
    first = key(house, Working(NEW, OLD))
    put(state=state)
    assert key(house, Working(NEW, OLD)) == first
    asked = {"catalog": NEW, "idempotency_key": first}
    assert parse_arguments(OPERATOR_TOOLS["catalog_apply"], asked)


@pytest.mark.parametrize("state", ["applied", "failed", "discarded", "canceled", "compensated"])
def test_a_run_that_is_over_makes_room_for_another_key(
    house: House, put: Callable[..., Run], state: str
) -> None:
    first = key(house, Working(NEW, OLD))
    put(state=state)
    assert key(house, Working(NEW, OLD)) != first


def test_another_catalog_has_another_key_and_so_has_the_way_back(house: House) -> None:
    ways = [Working(NEW, OLD), Working(OLD, NEW), Working("c" * 64, OLD)]
    assert len({key(house, way) for way in ways}) == len(ways)


# the files ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_files_without_a_mistake_are_kept_and_those_with_one_are_not(
    house: House, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(house.workspace.catalog, tmp_path / "catalog"))
    contacts = folder / "collections" / "contacts.yaml"
    contacts.write_text(contacts.read_text().replace("description: ", "description: All ", 1))
    with house.store() as store:
        found = keep_working(house.workspace, folder, lambda: house.cerbos, store)
        (folder / "plans.yaml").write_text("plans: [")
        wrong = keep_working(house.workspace, folder, lambda: house.cerbos, store)
    assert found.digest == load(house.workspace.catalogs / found.digest).digest
    assert found.before == load(house.workspace.catalog).digest
    assert not found.nothing
    assert wrong.checked is not None
    assert wrong.checked.mistakes
    assert not (house.workspace.catalogs / wrong.digest).exists()


class Unrecorded:
    """Writes no leaf: what is looked at here is the setting."""

    def record(self, *_: object, **__: object) -> str:
        return ""


def test_what_is_in_force_is_not_done_while_databases_serve_the_one_before(house: House) -> None:
    folder, applied = house.workspace.catalog, load(house.workspace.catalog).digest
    recorder: Recorder = Unrecorded()
    now = instant(SystemClock().now())

    def looked() -> tuple[Working, bool]:
        with house.store() as store:
            found = keep_working(house.workspace, folder, lambda: house.cerbos, store)
            return found, half_applied(store, applied)

    assert looked() == (Working(applied, applied, nothing=True), False)
    with house.store() as store, store.write() as connection:
        put_in_force(connection, recorder, applied, OLD, now)
    assert looked() == (Working(applied, OLD), True)
    with house.store() as store, store.write() as connection:
        put_in_force(connection, recorder, applied, "", now)


# the run -----------------------------------------------------------------------------------------


def test_each_change_is_told_once_until_the_run_rests(
    house: House, put: Callable[..., Run]
) -> None:
    run = put()
    step = RunStep(run_id=run.id, name="expand", position=0, state="dispatched")

    def begun() -> None:
        alter(house, state="applying")
        with house.store() as store, store.write() as connection:
            rows.put(connection, tables.run_step, step)

    ahead: list[Callable[[], None]] = [
        lambda: None,
        lambda: alter(house, state="awaiting_approval", approval_id="approval-1"),
        lambda: None,
        begun,
        lambda: alter(house, state="applied"),
    ]
    told: list[Progress] = []

    def turn() -> None:
        ahead.pop(0)()

    with house.store() as store:
        rested = follow(store, run.id, told.append, turn)
    assert rested.state == "applied"
    assert ahead == []
    assert told == [
        Progress("pending", "", ""),
        Progress("awaiting_approval", "", "approval-1"),
        Progress("applying", "expand", "approval-1"),
        Progress("applied", "expand", "approval-1"),
    ]


def test_a_run_that_never_rests_is_left_after_a_bounded_time(
    house: House, put: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put()
    monkeypatch.setattr(catalog_applying, "_FOLLOW_S_MAX", 0.0)
    with house.store() as store, pytest.raises(Failed) as caught:
        follow(store, run.id, lambda _: None, lambda: None)
    assert caught.value.code == "deadline"


def test_the_outcome_of_a_run_is_that_of_its_call(put: Callable[..., Run]) -> None:
    result = {"catalog": NEW, "before": OLD}
    done = outcome_of(put("run-1", state="applied"))
    assert (done.outcome, done.result) == ("done", result)
    assert OPERATOR_TOOLS["catalog_apply"].result.model_validate(result)
    failed = outcome_of(put("run-2", state="failed", reason="residue", detail="contract is left"))
    assert (failed.outcome, failed.code, failed.message) == (
        "failed",
        "residue",
        "contract is left",
    )
    planned = outcome_of(put("run-3", state="discarded", reason="dry_run", dry_run=True))
    assert (planned.outcome, planned.result) == ("planned", PLAN)
    refused = outcome_of(put("run-4", state="discarded", reason="expired"))
    assert (refused.outcome, refused.code) == ("refused", "expired")


def test_nothing_to_do_is_an_outcome_like_any_other() -> None:
    outcome = nothing_to_do(Working(NEW, NEW, nothing=True))
    assert outcome.answer()["result"] == {"catalog": NEW, "before": NEW}
