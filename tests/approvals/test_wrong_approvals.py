"""Approvals that are wrong in one way each: none is carried out. Not the plan behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from control_plane.errors import PaybillError
from policies.gate import Gate
from tests.approvals.wrongs import WRONG, Case
from tests.support.approval_world import (
    REQUESTER,
    TENANT,
    Template,
    World,
    repeatable,
)

AT_ONCE = 8
TIMES = [0, *(pytest.param(turn, marks=pytest.mark.sweep) for turn in range(1, 51))]


@pytest.fixture
def case(make: Callable[[Template], World], parked: Template) -> Callable[[int], Case]:
    """`case(turn)`: a run that waits in a world of its own."""

    def one(turn: int) -> Case:
        world = make(parked)
        return Case(world, world.waiting(), repeatable(turn))

    return one


def test_a_right_approval_is_carried_out(case: Callable[[int], Case]) -> None:
    right = case(0)
    right.sign()

    assert right.world.work(right.run.id).state == "applied"
    assert right.world.provisioner.applied == [TENANT]


@pytest.mark.slice_of(4)
@pytest.mark.parametrize("turn", TIMES)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_approval_is_not_carried_out(
    case: Callable[[int], Case], name: str, turn: int
) -> None:
    wrong, reasons = WRONG[name]
    made = case(turn)
    before = made.world.effects()

    wrong(made)
    ended = made.world.work(made.run.id)

    if reasons is None:
        assert ended.state == "awaiting_approval", ended
        assert made.world.approval(made.run).state == "pending"
    else:
        assert (ended.state, ended.reason in reasons) == ("discarded", True), ended
        assert made.world.approval(ended).state not in ("pending", "approved")
    assert made.world.effects() == before
    assert made.world.tenant() is None


@pytest.mark.parametrize("turn", TIMES)
def test_an_approval_under_another_policy_bundle_is_not_carried_out(
    case: Callable[[int], Case], other_gate: Gate, turn: int
) -> None:
    made = case(turn)
    made.world.answer(made.run)
    later = made.world.with_gate(other_gate)
    later.clock.advance(timedelta(minutes=made.chance.randint(0, 600)))

    ended = later.work(made.run.id)

    assert (ended.state, ended.reason) == ("discarded", "digest_changed")
    assert later.provisioner.applied == []
    assert later.tenant() is None


@pytest.mark.parametrize("turn", TIMES)
def test_no_more_questions_wait_than_an_approver_can_think_about(
    make: Callable[[Template], World], two_people: Template, turn: int
) -> None:
    world = make(two_people)
    chance = repeatable(turn)
    most = chance.randint(1, 3)
    world = world.with_limits(replace(world.ports.limits, pending_approvals_max=most))
    names = [f"tenant-{number}" for number in range(most + 3)]
    world.alter_grant(REQUESTER, tenants=names)
    # All are asked for before the worker looks at any of them.
    runs = [world.propose(name) for name in names]
    chance.shuffle(runs)

    ended = [world.work(run_id) for run_id in runs]

    assert [run.state for run in ended].count("awaiting_approval") == most
    over = [run for run in ended if run.state == "discarded"]
    assert {run.reason for run in over} == {"too_many_approvals"}
    assert len(over) == 3
    assert world.asked(names[-1], by=world.caller(REQUESTER))["outcome"] in ("refused", "conflict")
    assert world.provisioner.applied == []


@pytest.mark.parametrize("turn", TIMES)
def test_of_eight_answers_at_once_one_counts_and_the_plan_is_carried_out_once(
    case: Callable[[int], Case], turn: int
) -> None:
    made = case(turn)
    answers = [made.chance.choice(("approve", "deny")) for _ in range(AT_ONCE)]
    gate = threading.Barrier(AT_ONCE, timeout=30)

    def answer(word: str) -> str:
        gate.wait()
        try:
            return made.world.answer(made.run, word).state
        except PaybillError as error:
            return error.code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(answer, answers))
    counted = [word for word in said if word in ("approved", "rejected")]
    assert len(counted) == 1, said
    assert set(said) - set(counted) <= {"not_pending", "store_locked"}, said

    jobs = [made.world.job(made.run.id) for _ in range(AT_ONCE)]

    def work(job: str) -> str:
        gate.wait()
        try:
            return made.world.executor.work(job)
        except PaybillError as error:
            return error.code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, jobs))
    ended = made.world.work(made.run.id)

    assert made.world.approval(made.run).state == (
        "consumed" if counted == ["approved"] else "rejected"
    )
    assert made.world.provisioner.applied == ([TENANT] if counted == ["approved"] else [])
    assert ended.state == ("applied" if counted == ["approved"] else "discarded")
