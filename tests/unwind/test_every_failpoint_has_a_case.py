"""The cases against the boundaries that there are: none is without one, no lifecycle and no class is left out of the slice. Kills nothing."""

from __future__ import annotations

import pytest

from control_plane.domain.isolation import ISOLATIONS
from control_plane.engine.failpoints import FACE_BOUNDARIES, RUN_BOUNDARIES
from control_plane.handlers.registry import LIFECYCLES, failpoint_names
from server.workspace import StoreKind
from tests.unwind import fleet
from tests.unwind.cases import (
    STORES,
    Case,
    every_kill_of_a_face,
    every_kill_of_a_worker,
    some_kills_of_a_face,
    some_kills_of_a_worker,
    worker_points,
)
from tests.unwind.errands import (
    COMPENSATING,
    KINDS,
    LEGS,
    LEGS_ELSEWHERE,
    Errand,
    errand_points,
    every_errand,
    every_errand_elsewhere,
    some_errands,
    some_errands_beside,
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
# It needs a tenant that a campaign has left behind: tests/control_plane/handlers/test_database_migrate.py
# kills at each.
OF_WHO_IS_BEHIND = {"database_migrate"}
# They leave a tenant elsewhere, or another database beside it: they have cases of their own.
OF_ERRANDS = {*KINDS}
# It is about every tenant: it has cases of its own, and tests/control_plane/handlers/test_fleet_migration.py
# kills at each without a process.
OF_THE_FLEET = {fleet.KIND}
ALONE = OF_THE_FLEET | OF_WHO_IS_BEHIND
ELSEWHERE = OF_ERRANDS | ALONE | SWITCHED | OF_MONEY | OF_THE_HOUSE | OF_DRIFT
CLOCKS = {"billing", "house"}
SLICE = [case for store in STORES for case in some_kills_of_a_worker(store)]
BLOWS = [blow for store in STORES for blow in some_blows(store)]
ERRANDS = [one for store in STORES for one in (*some_errands(store), *some_errands_beside(store))]
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


# What moves rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_every_failpoint_of_what_moves_rows_is_killed_at_on_every_leg(store: StoreKind) -> None:
    errands = every_errand(store)
    for kind, described in KINDS.items():
        own = {name for name in failpoint_names() if name.startswith(f"{kind}.")}
        assert own, kind
        undone = any(".undo_" in name for name in own)
        reached = {*own, *RUN_BOUNDARIES} - (set() if undone else {COMPENSATING})
        assert {*errand_points(kind)} == reached
        killed = {(one.point, one.leg) for one in errands if one.kind == kind}
        legs = described.legs if store in described.stores else ()
        assert killed == {(point, leg) for point in reached for leg in legs}
    assert len(errands) == len(set(errands))


def test_a_tenant_is_moved_from_each_model_and_to_each() -> None:
    assert {leg.partition("-")[0] for leg in LEGS} == {*ISOLATIONS}
    assert {leg.partition("-")[2] for leg in LEGS} == {*ISOLATIONS}


@pytest.mark.parametrize("store", STORES)
def test_every_failpoint_of_a_move_is_killed_at_on_the_way_to_another_server(
    store: StoreKind,
) -> None:
    errands = every_errand_elsewhere(store)
    killed = {(one.point, one.leg) for one in errands}
    points = errand_points("move")
    assert killed == {(point, leg) for point in points for leg in LEGS_ELSEWHERE[store]}


@pytest.mark.parametrize("store", STORES)
def test_every_failpoint_of_a_change_of_all_tenants_is_killed_at(store: StoreKind) -> None:
    kills = fleet.every_fleet_kill(store)
    own = {name for name in failpoint_names() if name.startswith(f"{fleet.KIND}.")}
    assert own
    assert {kill.point for kill in kills} == {*own, *RUN_BOUNDARIES}
    # Each wants a migration that nobody has had.
    assert len(fleet.FILES) > len(kills) == len(set(kills))


def test_the_slice_of_what_moves_rows_has_every_lifecycle_and_each_side_of_the_cutover() -> None:
    assert {*ERRANDS} <= {one for store in STORES for one in every_errand(store)}
    assert {one.kind for one in ERRANDS} == {*KINDS}
    moves = [one for one in ERRANDS if one.kind == "move"]
    assert {one.store for one in moves} == {*STORES}
    assert {side_of(one) for one in moves} == {"before", "behind", "back"}


def side_of(errand: Errand) -> str:
    """Before or behind the cutover, or on the way back."""
    if errand.undoes:
        return "back"
    return "behind" if errand.is_cut_over else "before"
