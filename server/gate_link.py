"""The gate of a face: finds the worker's policy engine, and follows it when the worker changes. Decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from policies.decision import Decision
from policies.errors import GateUnavailable
from policies.gate import Gate
from policies.request import Attribute, Principal, Resource
from policies.rows import RowPlan
from server.worker_state import WorkerState, read_state


class LinkedGate:
    """A gate on whatever socket the state file names now. Without a worker, nothing is allowed."""

    def __init__(self, state_file: Path, deadline_s: float) -> None:
        self._state_file = state_file
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._state: WorkerState | None = None
        self._gate: Gate | None = None

    @property
    def version(self) -> str:
        """The bundle in force; empty when no worker has said."""
        state = read_state(self._state_file)
        return "" if state is None else state.bundle

    def check(self, principal: Principal, resources: Sequence[Resource]) -> tuple[Decision, ...]:
        """One decision a resource. Raises GateUnavailable when there is no engine to ask."""
        return self._current().check(principal, resources)

    def plan(
        self,
        principal: Principal,
        kind: str,
        attr: Mapping[str, Attribute],
        actions: Sequence[str],
    ) -> RowPlan:
        """Which objects of a kind. Raises as `check` does."""
        return self._current().plan(principal, kind, attr, actions)

    def close(self) -> None:
        """Close the channel."""
        with self._lock:
            if self._gate is not None:
                self._gate.close()
            self._gate = self._state = None

    def _current(self) -> Gate:
        state = read_state(self._state_file)
        if state is None:
            raise GateUnavailable("there is no worker, and so no policy engine")
        with self._lock:
            if self._gate is None or state != self._state:
                # An old channel is left to its calls in flight; it closes when they let go of it.
                self._gate = Gate(state.socket, state.bundle, self._deadline_s)
                self._state = state
            return self._gate
