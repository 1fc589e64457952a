"""An approved plan is carried out later as it was, or not at all. Not who may approve it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.secrets import signer
from control_plane.store import tables
from policies.gate import Gate
from tests.approvals.changes import LATER, RELEVANT, RELEVANT_OF_STANDING, UNRELATED
from tests.support.approval_world import (
    REQUESTER,
    TENANT,
    CountedProvisioner,
    Template,
    World,
    repeatable,
)

pytestmark = pytest.mark.slice_of(3)

SWEEP = [0, *(pytest.param(seed, marks=pytest.mark.sweep) for seed in range(1, 51))]


@pytest.fixture
def new(make: Callable[[Template], World], parked: Template) -> World:
    """A world in which a run waits, of a tenant that is not there yet."""
    return make(parked)


@pytest.fixture
def standing(make: Callable[[Template], World], parked_standing: Template) -> World:
    """A world in which a run waits, of a tenant whose onboarding has failed before."""
    return make(parked_standing)


def approved(world: World) -> Run:
    """The waiting run, approved ten minutes after its plan was made."""
    run = world.waiting()
    world.clock.advance(LATER)
    world.answer(run)
    world.clock.advance(LATER)
    return run


def assert_carried_out(world: World, run: Run) -> None:
    """The run did all of it, once."""
    ended = world.work(run.id)
    assert ended.state == "applied", ended
    assert world.approval(run).state == "consumed"
    assert world.provisioner.applied.count(TENANT) == 1
    tenant = world.tenant()
    assert tenant is not None
    assert tenant.state == "active"


def assert_void(world: World, run: Run, reasons: set[str]) -> None:
    """The run ended with nothing done, and says why; what was approved is void for good."""
    before = world.effects()
    ended = world.work(run.id)
    assert ended.state == "discarded", ended
    assert ended.reason in reasons, ended
    assert ended.detail
    assert world.approval(run).state == "void"
    assert world.approval(run).reason == ended.reason
    assert world.effects() == before
    assert world.work(run.id) == ended
    assert world.effects() == before


@pytest.mark.parametrize("name", RELEVANT)
def test_a_plan_is_void_after_any_one_fact_behind_it_has_changed(new: World, name: str) -> None:
    run = approved(new)
    change, reasons = RELEVANT[name]

    assert_void(change(new, run) or new, run, reasons)

    assert new.provisioner.applied == []


@pytest.mark.parametrize("name", RELEVANT_OF_STANDING)
def test_a_plan_is_void_after_a_fact_of_the_standing_tenant_has_changed(
    standing: World, name: str
) -> None:
    run = approved(standing)
    change, reasons = RELEVANT_OF_STANDING[name]

    assert_void(change(standing, run) or standing, run, reasons)


def test_a_plan_is_void_when_the_standing_tenant_is_gone(standing: World) -> None:
    run = approved(standing)
    with standing.store.write() as connection:
        connection.execute(tables.tenant.delete())

    assert_void(standing, run, {"digest_changed"})


def test_a_plan_is_void_under_another_policy_bundle(new: World, other_gate: Gate) -> None:
    assert other_gate.version != new.keeper.bundle
    run = approved(new)

    assert_void(new.with_gate(other_gate), run, {"digest_changed"})


def test_a_plan_is_void_when_the_call_is_older_than_a_day(world: World) -> None:
    run_id = world.propose()
    world.clock.advance(timedelta(hours=2))
    run = world.work(run_id)
    world.clock.advance(timedelta(hours=22))
    world.answer(run)
    world.clock.advance(timedelta(seconds=1))
    assert world.approval(run).expires_at > instant(world.clock.now())

    assert_void(world, run, {"call_too_old"})


def test_a_plan_is_carried_out_up_to_the_last_instant_of_its_day(world: World) -> None:
    run_id = world.propose()
    world.clock.advance(timedelta(hours=2))
    run = world.work(run_id)
    world.clock.advance(timedelta(hours=22))
    world.answer(run)

    assert_carried_out(world, run)


def test_a_plan_is_void_when_its_approval_has_expired(new: World) -> None:
    run = approved(new)
    new.clock.advance(timedelta(hours=24))

    assert_void(new, run, {"expired"})


def test_a_question_that_nobody_answers_expires(world: World) -> None:
    run = world.parked()
    world.clock.advance(timedelta(hours=24))

    assert_void(world, run, {"expired"})


def test_a_plan_does_not_observe_twice(new: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = approved(new)

    def observe(*_: object, **__: object) -> None:
        pytest.fail("what was observed is approved; it is never observed again")

    monkeypatch.setattr(CountedProvisioner, "observe", observe)

    assert_carried_out(new, run)


def test_a_void_plan_may_be_asked_for_again(new: World) -> None:
    run = approved(new)
    with new.store.write() as connection:
        connection.execute(tables.artifact.delete())
    assert_void(new, run, {"artifact_missing"})

    again = new.parked()
    new.answer(again)

    assert again.plan_digest != run.plan_digest
    assert_carried_out(new, again)


@pytest.mark.parametrize("name", UNRELATED)
def test_a_plan_is_carried_out_after_a_change_that_it_did_not_read(
    standing: World, name: str
) -> None:
    run = approved(standing)

    UNRELATED[name](standing, run)

    assert_carried_out(standing, run)


@pytest.mark.parametrize("seed", SWEEP)
def test_unrelated_changes_void_nothing_in_any_order_and_one_related_change_does(
    make: Callable[[Template], World], parked_standing: Template, seed: int
) -> None:
    chance = repeatable(seed)
    names = list(UNRELATED)
    unrelated = chance.sample(names, chance.randint(2, len(names)))
    for related in (None, chance.choice(list(RELEVANT_OF_STANDING))):
        world = make(parked_standing)
        run = approved(world)
        for name in unrelated:
            UNRELATED[name](world, run)
        if related is None:
            assert_carried_out(world, run)
        else:
            change, reasons = RELEVANT_OF_STANDING[related]
            change(world, run)
            assert_void(world, run, reasons)


def test_an_own_hand_approval_is_carried_out(
    make: Callable[[Template], World], own_hand: Template
) -> None:
    world = make(own_hand)
    seed = bytes(range(signer.SEED_BYTES))
    world.grant(REQUESTER, "viewer")
    world.enrol(REQUESTER, seed)
    run = world.parked()

    world.forge(run, seed=seed, decided_by=REQUESTER)

    assert world.approval(run).rule == "own_hand"
    assert_carried_out(world, run)


def test_under_own_hand_nobody_else_approves(
    make: Callable[[Template], World], own_hand: Template
) -> None:
    world = make(own_hand)
    run = world.parked()

    with pytest.raises(Refused) as refused:
        world.answer(run)
    assert refused.value.code == "not_own_hand"
    world.forge(run, seed=own_hand.approver_seed)

    assert_void(world, run, {"approval_void"})


def test_a_gate_that_does_not_answer_postpones_the_run_and_voids_nothing(
    new: World, tmp_path: Path
) -> None:
    run = approved(new)
    dead = Gate(tmp_path / "nobody.sock", "d0", deadline_s=0.2)
    try:
        asked = new.with_gate(dead).work(run.id)
    finally:
        dead.close()
    assert asked.state in {"awaiting_approval", "approved"}
    assert new.approval(run).state == "approved"
    assert new.provisioner.applied.count(TENANT) == 0
    assert_carried_out(new, run)
