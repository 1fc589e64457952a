"""Which freezes are in force, and how many runs each keeps from beginning. Changes none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from control_plane.domain.canonical import Json
from control_plane.handlers.freezes import Freeze, cloud_of, freezes
from control_plane.handlers.run_waits import UNBEGUN
from control_plane.store import tables

_RUNS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze, and how many runs wait for it to be lifted; another may keep them too."""

    freeze: Freeze
    waiting: int

    def told(self) -> dict[str, Json]:
        """The same for a program."""
        return {**self.freeze.model_dump(mode="json"), "waiting": self.waiting}


def frozen_now(connection: Connection) -> list[Frozen]:
    """Every freeze in force, the workspace's first; of runs, at most 10,000 are counted."""
    known = freezes(connection)
    places = _places(connection) if known else ()
    return [Frozen(one, sum(one.holds(*place) for place in places)) for one in known]


def _places(connection: Connection) -> Sequence[tuple[str, str]]:
    """Of each run that has not begun, its tenant and where that stands or is to stand."""
    run = tables.run
    statement = (
        select(run.c.tenant, run.c.command).where(run.c.state.in_(sorted(UNBEGUN))).limit(_RUNS_MAX)
    )
    found = connection.execute(statement).all()
    return [
        (one.tenant, str(one.command.get("proposed_cloud") or cloud_of(connection, one.tenant)))
        for one in found
    ]
