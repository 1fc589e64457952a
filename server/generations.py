"""What calls are answered by, all of one catalog: followed when the worker goes over to another. Decides nothing.

A call is answered by one generation from its start to its end: there is no moment at which its tools
are of one catalog and its decisions by the policies of another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from control_plane.facts.tool import ToolFacts
from control_plane.handlers.catalog_in_force import CatalogMoved
from control_plane.handlers.handler import Ports
from graphs.gatekeeper import Gatekeeper
from server.gate_link import LinkedGate
from server.worker_state import WorkerState, read_state
from tools.spec import ToolSpec

# The machines cost more than a second to import: only a call needs them, never a listing.
if TYPE_CHECKING:
    from graphs.runner import Runner

# From the transaction that puts a catalog in force until the worker says so, it takes milliseconds.
_FOLLOW_S_MAX: Final = 5.0
_PAUSE_S: Final = 0.01


@dataclass(frozen=True, eq=False)
class Generation:
    """Everything that is made of one catalog. ``runner`` makes the machines when first called."""

    ports: Ports
    tools: Mapping[str, ToolSpec]
    keeper: Gatekeeper
    runner: Callable[[], Runner]

    @cached_property
    def tool_facts(self) -> Mapping[str, ToolFacts]:
        """What policy knows of each tool, by its name."""
        return {name: tool.facts for name, tool in self.tools.items()}


class Present(Protocol):
    """Where a front finds the generation that answers."""

    def current(self) -> Generation:
        """The one to begin a call with."""
        ...

    def after(self, left: Generation) -> Generation:
        """The one that took the place of ``left``."""
        ...


class Generations:
    """Makes a generation when the worker's state file names another catalog or bundle.

    ``make`` is given a kept catalog's digest and the gate to ask; its errors pass through.
    ``applied`` says which catalog is in force, for as long as no worker does.
    """

    def __init__(
        self,
        state_file: Path,
        gate_deadline_s: float,
        make: Callable[[str, LinkedGate], Generation],
        applied: Callable[[], str],
    ) -> None:
        self._state_file = state_file
        self._gate_deadline_s = gate_deadline_s
        self._make = make
        self._lock = threading.Lock()
        self._state = read_state(state_file)
        self._gate = LinkedGate(gate_deadline_s)
        self._last = make(applied() if self._state is None else self._state.catalog, self._gate)
        if self._state is not None:
            self._gate.link(self._state.bundle, self._state.socket)

    def current(self) -> Generation:
        """The one that the worker decides by now; without a worker the last one, which allows nothing."""
        state = read_state(self._state_file)
        with self._lock:
            if state is None:
                self._gate.unlink()
                self._state = None
            elif state != self._state:
                self._follow(state)
            return self._last

    @property
    def gate(self) -> LinkedGate:
        """The gate that the last one asks."""
        return self._gate

    def after(self, left: Generation) -> Generation:
        """Wait for the next one. Raises CatalogMoved where none comes."""
        end_s = time.monotonic() + _FOLLOW_S_MAX
        while time.monotonic() < end_s:
            found = self.current()
            if found is not left:
                return found
            time.sleep(_PAUSE_S)
        raise CatalogMoved

    def close(self) -> None:
        """Let go of the channel."""
        self._gate.close()

    def _follow(self, state: WorkerState) -> None:
        same = self._last.ports.catalog.digest == state.catalog
        if not same or self._gate.version not in ("", state.bundle):
            gate = LinkedGate(self._gate_deadline_s)
            self._last, self._gate = self._make(state.catalog, gate), gate
        self._gate.link(state.bundle, state.socket)
        self._state = state
