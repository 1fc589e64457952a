"""The demo's own worker process: started, awaited, stopped by its pid. Not the worker."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import anyio
import psutil

from control_plane.errors import Unavailable
from server.settings import Settings
from server.worker_link import START_DEADLINE_S, start_worker
from server.worker_state import WorkerState, read_state
from server.workspace import Workspace

_PAUSE_S = 0.05
_STOP_DEADLINE_S = 15.0
_RUNTIME_PREFIX = "pb-"


class WorkerChild:
    """At most one worker at a time, and whatever it started."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace = workspace
        self._settings = settings
        self._child: subprocess.Popen[bytes] | None = None
        self._offspring: list[psutil.Process] = []
        self._runtime: Path | None = None

    async def start(self, *arguments: str) -> WorkerState:
        """Start one and wait until it is ready. Unavailable when it ends or takes too long."""
        self._child = child = start_worker(self._workspace, self._settings, arguments)
        end_s = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end_s and child.poll() is None:
            state = read_state(self._workspace.worker_json)
            if state is not None and state.pid == child.pid:
                self._runtime = Path(state.socket).parent
                self._offspring = _offspring(child.pid)
                return state
            await anyio.sleep(_PAUSE_S)
        # The log goes with the workspace: what it says last is told here.
        log = self._workspace.worker_log.read_text(errors="replace").splitlines()
        raise Unavailable(f"The worker did not start: {' '.join(log[-1:])}", code="no_worker")

    async def death(self, deadline_s: float) -> int | None:
        """Its exit status once it has ended, as -9 for SIGKILL; None when it lives on."""
        end_s = time.monotonic() + deadline_s
        while self._child is not None and time.monotonic() < end_s:
            status = self._child.poll()
            if status is not None:
                self._clear()
                return status
            await anyio.sleep(_PAUSE_S)
        return None

    def stop(self) -> None:
        """End it: asked first, then by force."""
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._offspring = _offspring(child.pid)
                child.kill()
                child.wait()
        self._clear()

    def _clear(self) -> None:
        # A worker that was killed could not end its policy engine, nor remove its socket's folder.
        for one in self._offspring:
            with suppress(psutil.NoSuchProcess):
                one.kill()  # of this very process: psutil compares the time of its start, too
        self._offspring = []
        runtime, self._runtime = self._runtime, None
        if runtime is not None and runtime.name.startswith(_RUNTIME_PREFIX):
            shutil.rmtree(runtime, ignore_errors=True)


def _offspring(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
