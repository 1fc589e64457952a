"""A worker as a child process: started, found ready, and always ended by its own pid. Not the worker."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from server.presence import held
from server.worker_state import WorkerState, read_state
from tests.support.forked import Forked, Start, start_paybill
from tests.support.house import House
from tests.support.waiting import until

READY_S = 60.0
_GRACE_S = 20.0
Child: TypeAlias = subprocess.Popen[bytes] | Forked


@dataclass
class RunningWorker:
    """A worker that has said where its policy engine is."""

    process: Child
    state: WorkerState
    log: Path
    pdp_pid: int

    @property
    def pid(self) -> int:
        """The worker's own."""
        return self.process.pid

    def signal_pdp(self, number: signal.Signals) -> None:
        """Send a signal to its policy engine alone."""
        os.kill(self.pdp_pid, number)

    def kill_pdp(self) -> None:
        """End the policy engine without warning; back when it is gone."""
        self.signal_pdp(signal.SIGKILL)
        until(lambda: not _alive(self.pdp_pid), "the policy engine is gone")

    def kill(self) -> None:
        """End the worker without warning; back when it and its policy engine are gone."""
        self.process.kill()
        self.process.wait(_GRACE_S)
        until(lambda: not _alive(self.pdp_pid), "the policy engine is gone")

    def stop(self) -> None:
        """End it as an operator would; by force when it does not end."""
        with suppress(ProcessLookupError):
            # A stopped engine could not end by itself.
            os.kill(self.pdp_pid, signal.SIGCONT)
        stop_process(self.process)


def stop_process(process: Child) -> None:
    """End a child kindly, or by force; always reaped."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_GRACE_S)


@contextmanager
def running_worker(
    house: House,
    *options: str,
    ahead: timedelta = timedelta(),
    start: Callable[[Start], Child] = start_paybill,
) -> Generator[RunningWorker]:
    """Start `paybill worker` with options; stopped at the end of the block, whatever happens.

    Its clock stands `ahead` of ours, or behind it.
    """
    log = house.folder / "worker-under-test.log"
    given = Start(("worker", *options), house.environment, house.workspace.root, log)
    process = start(replace(given, own_session=True, ahead=ahead))
    worker: RunningWorker | None = None
    try:
        worker = _ready(house, process, log)
        yield worker
    finally:
        if worker is None:
            stop_process(process)
        else:
            worker.stop()


def kill_with_its_children(worker: RunningWorker) -> frozenset[int]:
    """End a worker and all that it has started, at once and without warning; whom it was.

    It is stopped first, so that it neither sees its children go nor starts others.
    """
    process = psutil.Process(worker.pid)
    process.suspend()
    found = [process, *process.children(recursive=True)]
    for one in found:
        one.kill()
    worker.process.wait(_GRACE_S)
    until(lambda: not any(_alive(one.pid) for one in found), "all of them are gone")
    return frozenset(one.pid for one in found)


def _ready(house: House, process: Child, log: Path) -> RunningWorker:
    def state() -> WorkerState | None:
        if process.poll() is not None:
            pytest.fail(f"the worker ended at start:\n{log.read_text()[-4000:]}")
        found = read_state(house.workspace.worker_json)
        return found if found is not None and found.pid == process.pid else None

    found = until(state, "the worker is ready", READY_S)
    return RunningWorker(process, found, log, _pdp_of(process.pid))


def _pdp_of(pid: int) -> int:
    for child in psutil.Process(pid).children():
        if "cerbos" in child.name():
            return child.pid
    pytest.fail("the worker has no policy engine")


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_stray_worker(house: House, argument: Sequence[str] = ("paybill", "worker")) -> None:
    """End a worker that a face has started, by the pid that it gave, when it is one."""
    state = read_state(house.workspace.worker_json)
    if state is None or not held(house.workspace.worker_lock):
        return
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        command = psutil.Process(state.pid).cmdline()
        if all(word in command for word in argument):
            os.kill(state.pid, signal.SIGTERM)
            until(lambda: not held(house.workspace.worker_lock), "the stray worker ends")
