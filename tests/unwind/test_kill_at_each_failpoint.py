"""A worker killed at any boundary of onboarding, then restarted: one effect, no orphan, a stable tenant."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from control_plane.domain.tenant import TENANT
from control_plane.engine.failpoints import FACE_BOUNDARIES
from control_plane.handlers.registry import failpoint_names

if TYPE_CHECKING:
    from tests.unwind.conftest import House

MODELS = ("pooled", "silo")
# A step that fails makes the run compensate, so that the boundaries of undoing are reached.
FAILING = "onboard.activate.before:1:raise"
# The shipped stack's resources, and the one that the tests' copy adds.
RESOURCES = {"pooled": 2, "silo": 3}
ENDED = {"applied", "compensated", "failed", "canceled", "discarded"}
WORKER_POINTS = [name for name in failpoint_names() if name not in FACE_BOUNDARIES]
# One of each class: planning, deciding, an inside step, each boundary of an outside one, undoing.
SLICE = [
    ("run.observed", "pooled"),
    ("run.started", "silo"),
    ("onboard.register.recorded", "pooled"),
    ("onboard.provision.dispatched", "pooled"),
    ("onboard.provision.done", "silo"),
    ("onboard.activate.inside", "pooled"),
    ("onboard.provision.undo_done", "silo"),
]


def undoing(point: str) -> bool:
    return ".undo_" in point or point == "run.compensating"


def check(
    house: House, waiting: Callable[..., None], vouched: Callable[[], bool], point: str, model: str
) -> None:
    tenant = f"{point.replace('.', '-').replace('_', '-')}-{model}"[-39:].strip("-")
    armed = [f"{point}:1:kill", *([FAILING] if undoing(point) else [])]
    victim = house.start_worker(*armed)
    try:
        outcome = house.onboard(tenant, model)
        assert outcome.run_id is not None, outcome
        run_id = outcome.run_id
        approved = False
        if model == "silo":
            waiting(
                "parked or dead",
                lambda: victim.poll() is not None
                or house.run(run_id).state == "awaiting_approval",
            )
            if house.run(run_id).state == "awaiting_approval" and victim.poll() is None:
                house.approve(str(house.run(run_id).approval_id))
                approved = True
        waiting("the worker died", lambda: victim.poll() is not None)
        assert victim.returncode == -9, f"{point} was not reached"

        house.start_worker(*([FAILING] if undoing(point) else []))
        waiting(
            "parked or ended",
            lambda: house.run(run_id).state in ENDED | {"awaiting_approval"},
        )
        if house.run(run_id).state == "awaiting_approval" and not approved:
            house.approve(str(house.run(run_id).approval_id))
        waiting("the run ended", lambda: house.run(run_id).state in ENDED)
    finally:
        house.stop()

    run = house.run(run_id)
    standing = house.tenant(tenant)
    assert vouched(), "a row is not as its last leaf says"
    assert standing is not None
    assert standing.state in TENANT.stable
    if undoing(point):
        assert run.state == "compensated", run
        assert standing.state == "provision_failed"
        assert house.terraform_resources(tenant) == 0, "an orphan is left"
    else:
        assert run.state == "applied", run
        assert standing.state == "active"
        assert house.terraform_resources(tenant) == RESOURCES[model]
    assert house.effects_of(tenant) == 1


@pytest.mark.parametrize(("point", "model"), SLICE)
def test_a_worker_killed_at_one_boundary_of_each_class_finishes_once(
    house: House,
    waiting: Callable[..., None],
    vouched: Callable[[], bool],
    point: str,
    model: str,
) -> None:
    check(house, waiting, vouched, point, model)


@pytest.mark.sweep
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_worker_killed_at_every_boundary_finishes_once(
    house: House,
    waiting: Callable[..., None],
    vouched: Callable[[], bool],
    point: str,
    model: str,
) -> None:
    check(house, waiting, vouched, point, model)
