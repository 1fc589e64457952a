"""A run whose effect cannot be seen: it says why, is looked at again later and later, and goes on once it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.run_record import Run
from control_plane.engine.executor import ATTEMPTS_MAX
from control_plane.engine.memory import InlineEngine
from control_plane.errors import Failed, PaybillError, Refused, Unavailable, Unknown
from control_plane.handlers.run_waits import FIRST_WAIT, LAST_WAIT, look_again_at, wait_after
from control_plane.provisioning.port import Applied, Settled
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.runner import never
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import tables
from policies.gate import Gate
from server.intake import Intake
from tests.support.approval_world import OTHER, REQUESTER, CountedProvisioner, World
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench

UNREADABLE = Failed("The state cannot be read: put it back first.", code="state_unreadable")
MINUTE = timedelta(minutes=1)


class Interrupted(CountedProvisioner):
    """Applies, and cannot say so; what stands is seen once `fault` is nothing any more."""

    fault: PaybillError | None = UNREADABLE
    looks = 0
    stands = True

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = never,
        tell: Told = untold,
    ) -> Applied:
        """As the other, and then it is lost."""
        if self.stands:
            super().apply(request, artifact, should_stop=should_stop, tell=tell)
        raise Unknown("The apply was interrupted.", code="apply_interrupted")

    def settle(self, request: StackRequest, *, should_stop: Callable[[], bool] = never) -> Settled:
        """As the other, where it can be seen."""
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return super().settle(request, should_stop=should_stop)


@dataclass(frozen=True)
class Scene:
    """A world whose stacks are lost, and a run that has lost one."""

    world: World
    provisioner: Interrupted

    def lost(self) -> Run:
        """An onboarding as far as its worker brings it."""
        return self.world.work(self.world.propose(OTHER, isolation="pooled"))

    def told(self, run: Run) -> dict[str, Any]:
        """The run as its requester reads it."""
        found: dict[str, Any] = Bench(self.world).ask("run_get", REQUESTER, run_id=run.id)
        return dict(found["result"])

    def swept(self) -> int:
        """How many runs the worker's clock takes up now."""
        return Intake(self.world.ports, InlineEngine()).sweep()


@pytest.fixture
def scene(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Scene]:
    world = make_bench(standing, tmp_path / "world", gate).world
    provisioner = Interrupted()
    made = world.with_ports(replace(world.ports, provisioner=provisioner))
    yield Scene(made, provisioner)
    made.close()


def test_a_run_that_cannot_be_seen_says_why(scene: Scene) -> None:
    run = scene.lost()
    assert (run.state, run.reason) == ("unknown", "state_unreadable")
    told = scene.told(run)
    assert (told["state"], told["reason"]) == ("unknown", "state_unreadable")
    assert told["detail"] == str(UNREADABLE)
    assert told["waits_for"] == "look"
    assert told["steps"][-1] == {"name": "provision", "state": "unknown"}


@pytest.mark.long
def test_a_refusal_of_the_look_is_told_too(scene: Scene) -> None:
    scene.provisioner.fault = Refused("The account is not there.", code="account_absent")
    run = scene.lost()
    assert (run.state, run.reason) == ("unknown", "account_absent")


def test_it_is_looked_at_later_and_later(scene: Scene) -> None:
    run = scene.lost()
    waits: list[timedelta] = []
    for _ in range(10):
        with scene.world.store.read() as connection:
            again_at = look_again_at(connection, run)
        assert again_at is not None
        waits.append(again_at - scene.world.clock.now())
        before = scene.provisioner.looks
        scene.world.clock.advance(waits[-1] - timedelta(seconds=1))
        assert (scene.world.work(run.id).state, scene.provisioner.looks) == ("unknown", before)
        scene.world.clock.advance(timedelta(seconds=1))
        run = scene.world.work(run.id)
        assert scene.provisioner.looks == before + 1
    seconds = [wait.total_seconds() for wait in waits]
    assert seconds == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_run_that_waits_is_no_work_for_the_clock_and_no_attempt(scene: Scene) -> None:
    run = scene.lost()
    scene.world.clock.advance(10 * MINUTE)
    assert scene.swept() == 1
    run = scene.world.work(run.id)
    attempts = run.attempts
    scene.world.clock.advance(MINUTE - timedelta(seconds=1))
    assert scene.swept() == 0
    assert scene.world.work(run.id).attempts == attempts
    scene.world.clock.advance(timedelta(seconds=2))
    assert scene.swept() == 1


def test_once_it_is_put_right_the_run_goes_on_and_applies_nothing_again(scene: Scene) -> None:
    run = scene.lost()
    scene.provisioner.fault = None
    assert scene.world.work(run.id).state == "unknown"
    scene.world.clock.advance(MINUTE)
    run = scene.world.work(run.id)
    assert (run.state, run.reason, run.detail) == ("applied", "", "")
    assert scene.provisioner.applied == [OTHER]


@pytest.mark.long
def test_looks_in_vain_are_no_attempts_at_its_work(scene: Scene) -> None:
    run = scene.lost()
    for _ in range(ATTEMPTS_MAX + 2):
        scene.world.clock.advance(LAST_WAIT)
        run = scene.world.work(run.id)
    assert run.attempts > ATTEMPTS_MAX
    scene.provisioner.fault = None
    scene.world.clock.advance(LAST_WAIT)
    killed = Bench(scene.world)
    killed.work_until_killed(run.id, "onboard.database.before")
    assert scene.world.run(run.id).state == "applying"
    assert scene.world.work(run.id).state == "applied"


def test_where_nothing_of_it_stands_the_run_is_taken_back(scene: Scene) -> None:
    scene.provisioner.stands = False
    run = scene.lost()
    scene.provisioner.fault = None
    scene.world.clock.advance(MINUTE)
    run = scene.world.work(run.id)
    assert (run.state, run.reason) == ("compensated", "apply_interrupted")


def test_what_passes_by_itself_is_waited_out_where_it_is(scene: Scene) -> None:
    scene.provisioner.fault = Unavailable("The cloud does not answer.", code="cloud_unavailable")
    run = scene.lost()
    assert run.state == "reconciling"
    assert scene.told(run)["waits_for"] is None
    scene.provisioner.fault = None
    assert scene.world.work(run.id).state == "applied"


def test_who_kills_the_worker_between_look_and_word_costs_one_more_look(scene: Scene) -> None:
    run = scene.lost()
    scene.world.alter_run(run, state="reconciling")
    scene.provisioner.fault = None
    assert scene.world.work(run.id).state == "applied"


@given(looks=st.integers(min_value=1, max_value=10_000))
def test_no_wait_is_shorter_than_the_one_before_or_longer_than_an_hour(looks: int) -> None:
    assert FIRST_WAIT <= wait_after(looks) <= wait_after(looks + 1) <= LAST_WAIT


@pytest.mark.long
def test_a_step_that_was_never_looked_at_in_vain_waits_for_nothing(scene: Scene) -> None:
    run = scene.lost()
    step = tables.run_step
    mine = (step.c.run_id == run.id) & (step.c.state == "unknown")
    scene.world.alter(step, mine, observed=None)
    with scene.world.store.read() as connection:
        assert look_again_at(connection, run) is None
