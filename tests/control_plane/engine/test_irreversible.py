"""Steps that cannot be undone, in the middle of a run: waited out, never undone, their residue named. Not a lifecycle of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from control_plane.audit.recorder import LeafRecorder
from control_plane.commands import CancelRun
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.engine.executor import ATTEMPTS_MAX, Executor
from control_plane.engine.failpoints import Armed, Failpoints
from control_plane.errors import Failed, PaybillError, Refused, Unavailable, Unknown
from control_plane.handlers.handler import Lifecycle, Ports, Probe, Step, Work
from control_plane.plane import Plane
from control_plane.ports import Regate
from control_plane.secrets.box import new_keypair
from control_plane.store import rows, tables
from control_plane.store.schema import METADATA
from control_plane.store.sqlite import SqliteStore

AT = "2026-01-02T00:00:00.000000Z"
RUN = "r" * 32
COMMAND = CancelRun(run_id="x" * 32)
TRIES = 3


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


class Ids:
    count = 0

    def seed(self) -> str:
        return "00000000-0000-4000-8000-000000000000"

    def new(self) -> str:
        self.count += 1
        return f"{self.count:032x}"


class Scene:
    """A run in ``applying`` over steps that write down what is done; each may be given faults."""

    def __init__(self, store: SqliteStore) -> None:
        self.done: list[str] = []
        self.faults: dict[str, list[PaybillError]] = {}
        self.seen: dict[str, Probe] = {}
        self.refused: set[str] = set()
        self.canceled_before = ""
        recorder = LeafRecorder(new_keypair()[1], Clock(), Ids())
        self.ports = cast(
            Ports,
            SimpleNamespace(store=store, clock=Clock(), recorder=recorder, artifacts=None),
        )
        self.steps: tuple[Step, ...] = (
            Step("shut", do=self._do("shut"), undo=self._undo("shut")),
            Step("copy", do=self._do("copy"), undo=self._undo("copy"), outside=True),
            self._final("drop"),
            self._final("destroy"),
            Step("finish", do=self._do("finish"), irreversible=True),
        )

    def _final(self, name: str) -> Step:
        return Step(
            name,
            do=self._do(name),
            undo=self._undo(name),
            probe=lambda _: self.seen.get(name, "absent"),
            outside=True,
            irreversible=True,
        )

    def _do(self, name: str) -> Callable[..., dict[str, Json]]:
        def do(work: Work, connection: object) -> dict[str, Json]:
            self.done.append(name)
            if self.faults.get(name):
                raise self.faults[name].pop(0)
            return {}

        return do

    def _undo(self, name: str) -> Callable[..., None]:
        def undo(work: Work, connection: object) -> None:
            self.done.append(f"-{name}")

        return undo

    def permit(self, run: Run, step: str, epoch: int) -> object:
        if step in self.refused:
            raise Refused("The policy does not allow this.", code="held")
        if step == self.canceled_before:
            self.cancel()
        with self.ports.store.write() as connection:
            return Plane(self.ports).issue(
                connection,
                permit_id=f"{step}-{epoch}",
                command=COMMAND,
                tenant=run.tenant,
                run_id=run.id,
                step=step,
                decision_id="d",
                facts_digest="f",
            )

    def cancel(self) -> None:
        with self.ports.store.write() as connection:
            rows.change(connection, tables.run, tables.run.c.id == RUN, cancel_requested=True)

    def interrupted(self, *done: str) -> None:
        """The run was taken up as often as it may be, and has done these steps."""
        with self.ports.store.write() as connection:
            rows.change(connection, tables.run, tables.run.c.id == RUN, attempts=ATTEMPTS_MAX)
            for position, name in enumerate(done):
                row = {"run_id": RUN, "name": name, "position": position, "state": "succeeded"}
                connection.execute(tables.run_step.insert().values(row))

    def work(self, *armed: Armed) -> Run:
        """Let an executor carry the run on until it rests."""
        lifecycle = SimpleNamespace(kind="leave", command_type=CancelRun, steps=self.steps)
        executor = Executor(
            self.ports,
            {"leave": cast(Lifecycle, lifecycle)},
            cast(Regate, self),
            Failpoints(armed),
        )
        executor.work("j" * 32)
        with self.ports.store.read() as connection:
            found = rows.first(connection, tables.run, Run, tables.run.c.id == RUN)
        assert found is not None
        return found

    def states(self) -> dict[str, str]:
        with self.ports.store.read() as connection:
            return {row.name: row.state for row in connection.execute(tables.run_step.select())}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    store = SqliteStore(tmp_path / "store.db")
    run = Run(
        id=RUN,
        call_id="c" * 32,
        principal="alice",
        actor="bot",
        grant_id="g" * 32,
        tenant="acme",
        kind="leave",
        tool="leave",
        command=COMMAND.model_dump(mode="json"),
        state="applying",
        as_of=AT,
        seed="s",
        dry_run=False,
        created_at=AT,
        updated_at=AT,
    )
    with store.write() as connection:
        METADATA.create_all(connection)
        rows.put(connection, tables.run, run)
        connection.execute(tables.fence.insert().values(tenant="acme", epoch=0, run_id=None))
        connection.execute(
            tables.job.insert().values(
                id="j" * 32,
                routine="run",
                run_id=RUN,
                tenant="acme",
                state="pending",
                created_at=AT,
            )
        )
    yield Scene(store)
    store.close()


@pytest.mark.parametrize("fault", [Unavailable(), Unknown(), Failed(retryable=True)])
def test_a_passing_fault_of_a_step_beyond_undoing_is_waited_out(
    scene: Scene, fault: PaybillError
) -> None:
    scene.faults["drop"] = [fault] * (TRIES - 1)
    assert scene.work().state == "applied"
    assert scene.done == ["shut", "copy", *["drop"] * TRIES, "destroy", "finish"]


def test_a_step_that_can_be_undone_is_tried_once(scene: Scene) -> None:
    scene.faults["copy"] = [Unavailable(code="down")]
    run = scene.work()
    assert (run.state, run.reason) == ("compensated", "down")
    assert scene.done == ["shut", "copy", "-copy", "-shut"]


def test_a_fault_that_does_not_pass_is_not_tried_again(scene: Scene) -> None:
    scene.faults["drop"] = [Failed(code="no")]
    assert scene.work().state == "failed"
    assert scene.done.count("drop") == 1


def test_what_is_beyond_undoing_is_never_undone_and_its_residue_is_named(scene: Scene) -> None:
    scene.faults["destroy"] = [Failed("It does not go.", code="no")]
    run = scene.work()
    assert (run.state, run.reason) == ("failed", "residue")
    assert "done: drop; left: destroy, finish" in run.detail
    assert "no: It does not go." in run.detail
    assert scene.done[-2:] == ["-copy", "-shut"]
    assert not {"-drop", "-destroy"} & set(scene.done)
    assert scene.states() == {
        "shut": "undone",
        "copy": "undone",
        "drop": "succeeded",
        "destroy": "dispatched",
    }


def test_an_unknown_effect_beyond_undoing_that_a_probe_finds_is_gone_on_from(
    scene: Scene,
) -> None:
    scene.faults["drop"] = [Unknown()] * TRIES
    scene.seen["drop"] = "present"
    assert scene.work().state == "applied"
    assert scene.done.count("drop") == TRIES


def test_one_that_no_probe_finds_leaves_its_residue(scene: Scene) -> None:
    scene.faults["drop"] = [Unknown()] * TRIES
    run = scene.work()
    assert (run.state, run.reason) == ("failed", "residue")
    assert "done: none; left: drop, destroy, finish" in run.detail


@pytest.mark.parametrize("step", ["copy", "drop"])
def test_a_refusal_before_anything_is_beyond_undoing_undoes_the_rest(
    scene: Scene, step: str
) -> None:
    scene.refused.add(step)
    run = scene.work()
    assert (run.state, run.reason) == ("compensated", "held")
    assert scene.done[-1] == "-shut"
    assert "drop" not in scene.done


def test_a_run_is_called_off_right_before_its_first_step_beyond_undoing(scene: Scene) -> None:
    def copied(work: Work, connection: object) -> dict[str, Json]:
        scene.cancel()
        return {}

    shut, copy, *final = scene.steps
    scene.steps = (shut, Step(copy.name, do=copied, outside=True), *final)
    run = scene.work()
    assert (run.state, run.reason) == ("compensated", "canceled")
    assert "drop" not in scene.done


@pytest.mark.parametrize("outside", [True, False])
def test_it_is_still_called_off_when_that_step_is_already_permitted(
    scene: Scene, outside: bool
) -> None:
    shut, copy, drop, *final = scene.steps
    scene.steps = (shut, copy, replace(drop, outside=outside), *final)
    scene.canceled_before = "drop"
    run = scene.work()
    assert (run.state, run.reason) == ("compensated", "canceled")
    assert scene.done == ["shut", "copy", "-copy", "-shut"]


def test_a_run_that_is_called_off_beyond_undoing_goes_on_to_its_end(scene: Scene) -> None:
    def dropped(work: Work, connection: object) -> dict[str, Json]:
        scene.cancel()
        return {}

    shut, copy, _, *final = scene.steps
    drop = Step("drop", do=dropped, outside=True, irreversible=True)
    scene.steps = (shut, copy, drop, *final)
    assert scene.work().state == "applied"
    assert scene.done == ["shut", "copy", "destroy", "finish"]


def test_one_that_then_fails_was_not_called_off(scene: Scene) -> None:
    def dropped(work: Work, connection: object) -> dict[str, Json]:
        scene.cancel()
        raise Failed(code="no")

    shut, copy, _, *final = scene.steps
    drop = Step("drop", do=dropped, outside=True, irreversible=True)
    scene.steps = (shut, copy, drop, *final)
    run = scene.work()
    assert (run.state, run.reason) == ("failed", "residue")


def test_a_run_that_has_done_all_its_steps_is_never_undone_however_often_it_was_interrupted(
    scene: Scene,
) -> None:
    scene.interrupted(*(step.name for step in scene.steps))
    assert scene.work().state == "applied"
    assert scene.done == []


def test_nor_is_it_by_a_fault_after_its_last_step(scene: Scene) -> None:
    assert scene.work(Armed("leave.finish.recorded", 1, "raise")).state == "applied"
    assert scene.done == ["shut", "copy", "drop", "destroy", "finish"]


def test_one_that_was_interrupted_too_often_beyond_undoing_names_its_residue(
    scene: Scene,
) -> None:
    scene.interrupted("shut", "copy", "drop")
    run = scene.work()
    assert (run.state, run.reason) == ("failed", "residue")
    assert "done: drop; left: destroy, finish" in run.detail
    assert "attempts_exhausted" in run.detail
    assert scene.done == ["-copy", "-shut"]


def test_one_that_was_interrupted_too_often_before_that_is_undone(scene: Scene) -> None:
    scene.interrupted("shut", "copy")
    run = scene.work()
    assert (run.state, run.reason) == ("compensated", "attempts_exhausted")
    assert scene.done == ["-copy", "-shut"]
