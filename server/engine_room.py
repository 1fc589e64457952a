"""One policy engine over one catalog's bundle, from its start to its end. Does not choose the catalog.

The kernel ends an engine when the thread that started it ends: `start` is the main thread's.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Final

from control_plane.domain.canonical import instant
from policies.bundle import Bundle
from policies.gate import Gate
from policies.pdp import Pdp, Supervisor, canary
from server.catalog import Catalog
from server.worker_state import WorkerState

_READY_S: Final = 20.0
_PROBE_S: Final = 5.0


class EngineRoom:
    """A policy engine, the gate that asks it, and what the worker's state file says of both.

    ``folder`` is private, short enough for a socket's path, and made here; it goes with the engine.
    """

    def __init__(
        self, binary: Path, catalog: Catalog, bundle: Bundle, folder: Path, gate_deadline_s: float
    ) -> None:
        folder.mkdir(mode=0o700)
        self.catalog = catalog
        self.bundle = bundle
        self._folder = folder
        self._pdp = Pdp(binary, bundle, folder)
        self._supervisor = Supervisor(self._pdp)
        self.gate = Gate(self._pdp.socket, bundle.version, gate_deadline_s)

    def start(self) -> None:
        """Start the engine and return at once. Raises GateUnavailable."""
        self._pdp.start()

    def prove(self) -> None:
        """Wait until it answers, and answers rightly. Raises GateUnavailable."""
        self._pdp.wait_ready(_READY_S)
        # The first answers of a cold engine may be slow: the canary has a longer deadline.
        probe = Gate(self._pdp.socket, self.bundle.version, _PROBE_S)
        try:
            canary(probe)
        finally:
            probe.close()

    def supervise(self, now_s: float) -> None:
        """Start it again where it has died; ``now_s`` is a monotonic clock. Raises GateError."""
        self._supervisor.tick(now_s)

    def state(self, now: datetime) -> WorkerState:
        """What faces need to ask it."""
        return WorkerState(
            pid=os.getpid(),
            socket=str(self._pdp.socket),
            bundle=self.bundle.version,
            catalog=self.catalog.digest,
            started_at=instant(now),
        )

    def stop(self) -> None:
        """End the engine and remove its folder; again does nothing."""
        self._pdp.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
