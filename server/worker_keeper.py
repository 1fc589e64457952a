"""Sees to it that the workspace's worker runs for as long as a face is served. Not the worker, and not its start."""

from __future__ import annotations

import logging
import threading
from typing import Final

import anyio

from server.face_process import start_worker
from server.settings import Settings
from server.worker_link import worker_runs
from server.workspace import Workspace

LOOK_S: Final = 1.0
PAUSE_S: Final = 5.0
PAUSE_S_MAX: Final = 120.0
_LOG = logging.getLogger("paybill.face")


class WorkerKeeper:
    """Looks each second; starts a worker that is gone, more and more seldom if it does not stay."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace = workspace
        self._settings = settings
        self._starting: threading.Thread | None = None

    async def keep(self) -> None:
        """Until cancelled."""
        pause_s, rest_s = PAUSE_S, 0.0
        while True:
            await anyio.sleep(LOOK_S)
            rest_s -= LOOK_S
            if worker_runs(self._workspace):
                if rest_s < -PAUSE_S_MAX:
                    pause_s = PAUSE_S
                continue
            if rest_s > 0 or (self._starting is not None and self._starting.is_alive()):
                continue
            _LOG.warning("there is no worker: one is started")
            self._starting = start_worker(self._workspace, self._settings)
            rest_s, pause_s = pause_s, min(pause_s * 2, PAUSE_S_MAX)
