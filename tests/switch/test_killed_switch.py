"""A worker killed at any boundary of a catalog's switch, then another: one catalog, in force everywhere. Not other faults."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.engine.failpoints import RUN_BOUNDARIES
from control_plane.handlers.catalog_in_force import KIND
from control_plane.handlers.registry import failpoint_names
from server.workspace import StoreKind
from tests.support.postgres import Postgres
from tests.support.workers import running_worker
from tests.switch.fleet import Fleet, opened_fleet

# At the last moment at which all of it can be taken back.
_FAULT: Final = f"{KIND}.switch.before:1:raise"


@dataclass(frozen=True)
class Case:
    """One kill."""

    point: str

    def __str__(self) -> str:
        """The case's name in a test's id."""
        return self.point

    @property
    def undoes(self) -> bool:
        """Whether the boundary is reached only by a run that is taken back."""
        return ".undo_" in self.point or self.point == "run.compensating"


EVERY: Final = [
    Case(point)
    for point in (
        *RUN_BOUNDARIES,
        *(name for name in failpoint_names() if name.startswith(f"{KIND}.")),
    )
]
# Before the switch, at it, behind it; on the way back.
SLICE: Final = [
    Case(f"{KIND}.{point}") for point in ("switch.done", "contract.done", "expand.undo_done")
]
POSTGRES_SLICE: Final = [
    *SLICE,
    *(
        Case(f"{KIND}.{point}")
        for point in ("expand.done", "ready.done", "switch.dispatched", "ready.undo_done")
    ),
]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Fleet]:
    """One tenant, in files."""
    yield from _fleet(tmp_path_factory, cerbos_binary, None, ("pooled",))


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Fleet]:
    """A tenant of each isolation model, in files."""
    yield from _fleet(tmp_path_factory, cerbos_binary, None, ISOLATIONS)


@pytest.fixture(scope="module")
def on_server(
    tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path, postgres: Postgres
) -> Iterator[Fleet]:
    """The same on a server."""
    yield from _fleet(tmp_path_factory, cerbos_binary, postgres, ISOLATIONS)


def _fleet(
    folders: pytest.TempPathFactory,
    cerbos: Path,
    postgres: Postgres | None,
    models: tuple[Isolation, ...],
) -> Iterator[Fleet]:
    store: StoreKind = "sqlite" if postgres is None else "postgres"
    folder = folders.mktemp(f"killed-{store}") / "house"
    with opened_fleet(folder, cerbos, postgres, models) as fleet:
        yield fleet


def test_every_boundary_of_the_switch_is_killed_at() -> None:
    ours = {name for name in failpoint_names() if name.startswith(f"{KIND}.")}
    assert {case.point for case in EVERY} == {*RUN_BOUNDARIES, *ours}
    assert {*SLICE, *POSTGRES_SLICE} <= {*EVERY}
    assert {case.undoes for case in SLICE} == {True, False}


@pytest.mark.long
@pytest.mark.slice_of(3)
@pytest.mark.parametrize("case", SLICE, ids=str)
def test_a_worker_killed_on_the_way_leaves_one_catalog_in_force(pooled: Fleet, case: Case) -> None:
    kill(pooled, case)


@pytest.mark.sweep
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_a_worker_killed_at_every_boundary_leaves_one_catalog_in_force(
    in_files: Fleet, case: Case
) -> None:
    kill(in_files, case)


@pytest.mark.sweep
@pytest.mark.parametrize("case", POSTGRES_SLICE, ids=str)
def test_a_worker_killed_beside_a_server_leaves_one_catalog_in_force(
    on_server: Fleet, case: Case
) -> None:
    kill(on_server, case)


def kill(fleet: Fleet, case: Case) -> None:
    """Kill the worker at the case's boundary; a healthy one goes on, and what stands is right."""
    (before, none), fresh = fleet.in_force(), fleet.another()
    assert none is None
    rows = fleet.rows(before)
    assert all(rows.values())
    run_id = _ask_victim(fleet, case, fresh)
    with running_worker(fleet.house):
        run = fleet.to_its_end(run_id)
        assert run.state == ("compensated" if case.undoes else "applied"), run
        ends = (before, fresh) if case.undoes else (fresh, before)
        fleet.assert_served_alone(*ends)
        fleet.assert_log_intact()
    fleet.assert_no_engine_left()
    # What one of the two catalogs declares more is null in each.
    assert fleet.rows(ends[0]) == rows
    fleet.back()


def _ask_victim(fleet: Fleet, case: Case, digest: str) -> str:
    armed = [f"{case.point}:1:kill", *([_FAULT] if case.undoes else [])]
    options = [part for point in armed for part in ("--failpoints", point)]
    with running_worker(fleet.house, *options) as victim:

        def died() -> bool:
            return victim.process.poll() is not None

        run_id = fleet.operator.ask(digest)
        run = fleet.to_its_end(run_id, died)
        assert died(), f"{case.point} was not reached: {run}"
        assert victim.process.returncode == -signal.SIGKILL
    return run_id
