"""One run as it goes on: its state, its steps, and what its resources tell. It waits and shows nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from control_plane.domain.run import RUN
from control_plane.domain.run_record import Run, RunStep
from control_plane.errors import NotFound
from control_plane.facts.load import run_row
from control_plane.handlers.runs import steps_of
from control_plane.ports import Store
from control_plane.store.infrastructure_tables import run_event

RESTING: Final = RUN.terminal | {"awaiting_approval", "compensation_failed", "unknown"}
"""The states in which a run waits for somebody, or for nothing any more."""
_LOOKS_MAX: Final = 400_000
_RESOURCES_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Resource:
    """The last that was told of one resource."""

    address: str
    doing: str
    stage: str
    elapsed_s: int


@dataclass(frozen=True, slots=True)
class Look:
    """A run at one moment."""

    run: Run
    steps: tuple[RunStep, ...]
    resources: tuple[Resource, ...]

    @property
    def rests(self) -> bool:
        """Whether nothing more comes by itself."""
        return self.run.state in RESTING


def watch(store: Store, run_id: str, pause: Callable[[], object]) -> Iterator[Look]:
    """Look until the run rests; the last look is of that. ``pause`` is called between two.

    Raises NotFound.
    """
    for _ in range(_LOOKS_MAX):
        with store.read() as connection:
            look = look_at(connection, run_id)
        yield look
        if look.rests:
            return
        pause()


def look_at(connection: Connection, run_id: str) -> Look:
    """The run as it stands. Raises NotFound."""
    run = run_row(connection, run_id)
    if run is None:
        raise NotFound("there is no such run", code="run_not_found")
    return Look(run, tuple(steps_of(connection, run_id)), _resources(connection, run_id))


def _resources(connection: Connection, run_id: str) -> tuple[Resource, ...]:
    told = run_event.c
    statement = (
        select(told.address, told.doing, told.stage, told.elapsed_s)
        .where(told.run_id == run_id)
        .order_by(told.position)
    )
    # The later word on a resource takes the place of the earlier one, which keeps its line.
    latest: dict[str, Resource] = {}
    for row in connection.execute(statement):
        latest[row.address] = Resource(row.address, row.doing, row.stage, row.elapsed_s)
    return tuple(latest.values())[-_RESOURCES_MAX:]
