"""The gate of a face: one bundle's, on whatever socket its policy engine has now. Decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from policies.decision import Decision
from policies.errors import GateUnavailable
from policies.gate import Gate
from policies.request import Attribute, Principal, Resource
from policies.rows import RowPlan


class LinkedGate:
    """Asks the engine that it is linked to. While there is none, nothing is allowed."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._socket: str = ""
        self._gate: Gate | None = None
        self._version: str = ""

    @property
    def version(self) -> str:
        """The bundle that is decided by; empty until it was linked once."""
        return self._version

    def link(self, version: str, socket: str) -> None:
        """Ask the engine on ``socket`` from now on; the bundle, once told, is never another."""
        with self._lock:
            assert self._version in ("", version), "another bundle has another gate"
            if self._gate is None or socket != self._socket:
                # An old channel is left to its calls in flight; it closes when they let go of it.
                self._gate = Gate(socket, version, self._deadline_s)
            self._version = version
            self._socket = socket

    def unlink(self) -> None:
        """There is no engine now."""
        with self._lock:
            self._gate = None

    def check(self, principal: Principal, resources: Sequence[Resource]) -> tuple[Decision, ...]:
        """One decision a resource. Raises GateUnavailable when there is no engine to ask."""
        return self._linked().check(principal, resources)

    def plan(
        self,
        principal: Principal,
        kind: str,
        attr: Mapping[str, Attribute],
        actions: Sequence[str],
    ) -> RowPlan:
        """Which objects of a kind. Raises as `check` does."""
        return self._linked().plan(principal, kind, attr, actions)

    def close(self) -> None:
        """Close the channel."""
        with self._lock:
            if self._gate is not None:
                self._gate.close()
            self._gate = None

    def _linked(self) -> Gate:
        gate = self._gate
        if gate is None:
            raise GateUnavailable("there is no worker, and so no policy engine")
        return gate
