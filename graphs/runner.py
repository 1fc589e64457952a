"""Runs calls and runs through the machines, and turns errors into outcomes. Holds no rule of its own.

Reads are walked, everything else goes through LangGraph: see docs/adr/0006.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from sqlalchemy import Connection

from control_plane.domain.outcome import Outcome
from control_plane.domain.permit import Permit
from control_plane.domain.run_record import Run
from control_plane.errors import BadInput, PaybillError
from control_plane.handlers.catalog_in_force import CatalogMoved
from control_plane.ports import Asker, Settled
from graphs.machines import (
    RECURSION_MAX,
    Compiled,
    Machine,
    State,
    change_machine,
    lifecycle_machine,
    query_machine,
)
from graphs.passage import Passage, Settling
from graphs.steps import Steps

MachineName = Literal["query", "change", "lifecycle"]


class Runner:
    """The machines, each compiled when it is first needed. Also the port Regate, for the worker."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._query = query_machine(steps)
        self._declared: dict[str, Callable[[Steps], Machine]] = {
            "change": change_machine,
            "lifecycle": lifecycle_machine,
        }
        self._compiled: dict[str, Compiled] = {}
        self._compiling = threading.Lock()

    def warm(self) -> None:
        """Compile every machine now: it imports LangGraph, which takes most of a second."""
        for machine in self._declared:
            self._machine(machine)

    def call(self, machine: MachineName, passage: Passage) -> Outcome:
        """Run one call. Unlisted, BadInput and CatalogMoved pass through; else an error is an outcome."""
        try:
            self._invoke(machine, {"passage": passage})
            return passage.finished()
        except (BadInput, CatalogMoved):
            raise
        except PaybillError as error:
            return self._steps.refuse(passage, error)

    def settle(self, connection: Connection, run: Run) -> Settled:
        """The worker's entry of the lifecycle machine."""
        settling = Settling(connection, run)
        self._invoke("lifecycle", {"passage": settling})
        return settling.finished()

    def asker(self, run: Run) -> Asker:
        """Who asked for a run, decided anew."""
        return self._steps.runs.asker(run)

    def permit(self, run: Run, step: str, epoch: int) -> Permit:
        """Decide again for one step of a run."""
        return self._steps.runs.permit(run, step, epoch)

    def _machine(self, name: str) -> Compiled:
        with self._compiling:
            if name not in self._compiled:
                self._compiled[name] = self._declared[name](self._steps).compiled()
            return self._compiled[name]

    def _invoke(self, machine: MachineName, state: State) -> None:
        if machine == "query":
            self._query.walk(state)
            return
        self._machine(machine).invoke(  # pyright: ignore[reportUnknownMemberType] - a loose signature
            state, {"recursion_limit": RECURSION_MAX}
        )
