"""The cases against the boundaries that there are: none is without one, no lifecycle and no class is left out of the slice. Kills nothing."""

from __future__ import annotations

import pytest

from control_plane.domain.isolation import ISOLATIONS
from control_plane.engine.failpoints import FACE_BOUNDARIES, RUN_BOUNDARIES
from control_plane.handlers.registry import LIFECYCLES, failpoint_names
from server.workspace import StoreKind
from tests.unwind.cases import (
    STORES,
    Case,
    every_kill_of_a_face,
    every_kill_of_a_worker,
    some_kills_of_a_face,
    some_kills_of_a_worker,
    worker_points,
)
from tests.unwind.lifecycles import DESCRIBED
from tests.unwind.money import MOVES, every_blow, some_blows

# Of no tenant: its boundaries are killed at in tests/switch.
SWITCHED = {"apply_catalog"}
# Those that move money have cases of their own, over tenants that pay; a first plan is of both.
OF_MONEY = {move.kind for move in MOVES.values() if move.kind} - {*DESCRIBED}
# What the house asks for by itself: tests/control_plane/handlers/test_house_runs.py kills at each.
OF_THE_HOUSE = {"follow_plan"}
# It needs a stack that somebody has changed: tests/control_plane/handlers/test_drift.py kills at each.
OF_DRIFT = {"drift_repair"}
# They leave a tenant elsewhere: tests/control_plane/handlers/test_move.py kills at each.
OF_MOVES = {"move", "finalise_move"}
# It is about every tenant: tests/control_plane/handlers/test_fleet_migration.py kills at each.
OF_THE_FLEET = {"fleet_migration"}
# They leave a tenant elsewhere, or beside it: test_database_restore.py, test_database_clone.py there.
OF_DATABASES = {"database_restore", "database_clone", "database_clone_drop"}
# It needs something to log in to: tests/control_plane/handlers/test_credential_rotation.py kills at each.
OF_SERVICES = {"rotate_credentials"}
ELSEWHERE = (
    OF_SERVICES
    | OF_DATABASES
    | OF_THE_FLEET
    | OF_MOVES
    | SWITCHED
    | OF_MONEY
    | OF_THE_HOUSE
    | OF_DRIFT
)
CLOCKS = {"billing", "house"}
SLICE = [case for store in STORES for case in some_kills_of_a_worker(store)]
BLOWS = [blow for store in STORES for blow in some_blows(store)]
FACES = [case for store in STORES for case in some_kills_of_a_face(store)]


def class_of(case: Case) -> str:
    """Which of the four kinds of boundary it is."""
    if case.point in RUN_BOUNDARIES:
        return "run"
    if case.undoes:
        return "undo"
    step = case.point.split(".")[1]
    (outside,) = (
        one.outside
        for lifecycle in LIFECYCLES.values()
        for one in lifecycle.steps
        if (lifecycle.kind, one.name) == (case.kind, step)
    )
    return "outside" if outside else "inside"


def test_every_lifecycle_is_described() -> None:
    assert {*DESCRIBED, *ELSEWHERE} == {lifecycle.kind for lifecycle in LIFECYCLES.values()}


@pytest.mark.parametrize("store", STORES)
def test_every_failpoint_is_killed_at_under_every_isolation_model(store: StoreKind) -> None:
    cases = [*every_kill_of_a_worker(store), *every_kill_of_a_face(store)]
    ours = {name for name in failpoint_names() if name.split(".")[0] not in ELSEWHERE | CLOCKS}
    for model in ISOLATIONS:
        assert {case.point for case in cases if case.model == model} == ours
    for kind in DESCRIBED:
        killed = {(case.point, case.model) for case in cases if case.kind == kind}
        points = [*worker_points(kind), *FACE_BOUNDARIES]
        assert killed == {(point, model) for point in points for model in ISOLATIONS}
    assert len(cases) == len(set(cases))


@pytest.mark.parametrize("store", STORES)
def test_every_failpoint_of_money_is_killed_at(store: StoreKind) -> None:
    blows = every_blow(store)
    ours = {name for name in failpoint_names() if name.split(".")[0] in {*OF_MONEY, "billing"}}
    assert {blow.point for blow in blows} >= {*ours, *RUN_BOUNDARIES}
    for move in MOVES.values():
        own = {one for one in ours if move.kind and one.startswith(f"{move.kind}.")}
        assert {blow.point for blow in blows if blow.move == move.name} >= own
    assert len(blows) == len(set(blows))


def test_the_slice_of_money_has_the_clock_and_a_run_and_both_stores() -> None:
    assert set(BLOWS) <= {blow for store in STORES for blow in every_blow(store)}
    assert {blow.store for blow in BLOWS} == set(STORES)
    assert {bool(MOVES[blow.move].tool) for blow in BLOWS} == {True, False}


def test_the_slice_is_of_cases_that_the_sweep_has() -> None:
    every = {case for store in STORES for case in every_kill_of_a_worker(store)}
    assert set(SLICE) <= every
    assert set(FACES) <= {case for store in STORES for case in every_kill_of_a_face(store)}


def test_the_slice_has_every_lifecycle_and_over_each_store_what_is_hard() -> None:
    assert {case.kind for case in SLICE} == set(DESCRIBED)
    assert {class_of(case) for case in SLICE} == {"run", "inside", "outside", "undo"}
    hard = {(case.store, class_of(case)) for case in SLICE}
    assert {(store, one) for store in STORES for one in ("outside", "undo")} <= hard


def test_the_slice_has_every_isolation_model_and_every_kind_of_kill_over_every_store() -> None:
    assert {case.model for case in SLICE} == set(ISOLATIONS)
    assert {case.store for case in SLICE} == set(STORES)
    assert {case.store for case in FACES} == set(STORES)
    assert {case.point for case in FACES} == set(FACE_BOUNDARIES)
