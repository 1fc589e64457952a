"""The one worker of a workspace: holds keys, policy engine, job engine and clocks. Answers no call."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from sqlalchemy import func, select

from control_plane.audit.port import Fenced
from control_plane.domain.canonical import instant
from control_plane.domain.run import RUN_ACTIVE
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import PaybillError
from control_plane.store import tables
from policies.binary import find_binary
from policies.bundle import Bundle, build_bundle
from policies.errors import GateError
from policies.gate import Gate
from policies.pdp import RUNTIME_PREFIX, Pdp, Supervisor, canary, new_runtime_dir
from server.catalog import load_applied, policy_sources
from server.clock import SystemClock
from server.intake import Intake
from server.opening import open_store
from server.presence import faces_open, hold
from server.settings import Settings, process_environment
from server.wiring import Backend, wire_worker
from server.worker_state import WorkerState, read_state, write_state
from server.workspace import Workspace

_LOG = logging.getLogger("paybill.worker")
_TURN_S = 0.1
_SWEEP_S = 5.0
_IDLE_S = 600.0
_STOP_GRACE_S = 5.0
_PDP_READY_S = 20.0
_PDP_PROBE_S = 5.0


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker's command line may say."""

    exit_when_idle: bool = False
    idle_s: float = _IDLE_S
    failpoints: Failpoints = field(default_factory=Failpoints)
    supervise: bool = True
    modules: Path | None = None
    admitted_modules: frozenset[str] = frozenset()
    checkpoint_file: Path | None = None


class Worker:
    """Started on the main thread: the kernel ends the policy engine when that thread ends."""

    def __init__(self, workspace: Workspace, settings: Settings, options: WorkerOptions) -> None:
        self._workspace = workspace
        self._settings = settings
        self._options = options
        self._stop = threading.Event()
        self._last_active_s = time.monotonic()

    def run(self) -> int:
        """Work until told to stop, or idle; 0, also when another worker holds the workspace."""
        lock = hold(self._workspace.worker_lock)
        if lock is None:
            _LOG.info("another worker holds this workspace")
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._sweep_predecessor()
        runtime = new_runtime_dir()
        try:
            self._serve(runtime)
        finally:
            self._workspace.worker_json.unlink(missing_ok=True)
            shutil.rmtree(runtime, ignore_errors=True)
            os.close(lock)
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _sweep_predecessor(self) -> None:
        # A killed worker leaves its engine's folder behind, and a state that names it.
        state = read_state(self._workspace.worker_json)
        self._workspace.worker_json.unlink(missing_ok=True)
        if state is not None:
            folder = Path(state.socket).parent
            if folder.name.startswith(RUNTIME_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)

    def _serve(self, runtime: Path) -> None:
        bundle = self._bundle()
        binary = find_binary(
            setting=self._settings.cerbos_bin,
            environment=process_environment(),
            cache_dir=self._settings.cache,
            on_progress=_LOG.info,
        )
        pdp = Pdp(binary.path, bundle, runtime)
        pdp.start()
        try:
            pdp.wait_ready(_PDP_READY_S)
            gate = Gate(pdp.socket, bundle.version, self._settings.limits.gate_deadline_s)
            # The first answers of a cold engine may be slow: the canary has a longer deadline.
            probe = Gate(pdp.socket, bundle.version, _PDP_PROBE_S)
            canary(probe)
            probe.close()
            self._work(pdp, gate, bundle)
        finally:
            pdp.stop()

    def _bundle(self) -> Bundle:
        store = open_store(self._workspace)
        try:
            with store.read() as connection:
                catalog = load_applied(connection, self._workspace.catalogs)
        finally:
            store.close()
        return build_bundle(policy_sources(catalog.policy_folder), self._workspace.bundles)

    def _work(self, pdp: Pdp, gate: Gate, bundle: Bundle) -> None:
        backend = wire_worker(
            self._workspace,
            self._settings,
            gate,
            self._options.failpoints,
            self._options.admitted_modules,
            self._options.modules,
        )
        engine = backend.engine
        try:
            taken = engine.recover()
            _LOG.info("ready; %d jobs taken over", taken)
            state = WorkerState(
                pid=os.getpid(),
                socket=str(pdp.socket),
                bundle=bundle.version,
                catalog=backend.ports.catalog.digest,
                started_at=instant(SystemClock().now()),
            )
            write_state(self._workspace.worker_json, state)
            self._turn(Supervisor(pdp), backend, Intake(backend.ports, engine))
        finally:
            engine.stop(_STOP_GRACE_S)
            self._sequence(backend)

    def _turn(self, supervisor: Supervisor, backend: Backend, intake: Intake) -> None:
        next_sweep_s = time.monotonic()
        while not self._stop.is_set() and not self._idle(backend):
            try:
                if self._options.supervise:
                    supervisor.tick(time.monotonic())
                if intake.step():
                    self._last_active_s = time.monotonic()
                self._sequence(backend)
                if time.monotonic() >= next_sweep_s:
                    next_sweep_s = time.monotonic() + _SWEEP_S
                    self._sweep(backend, intake)
            except (PaybillError, GateError) as error:
                # A full disk or a locked store is no reason to die: the next turn tries again.
                _LOG.warning("a turn failed: %s", getattr(error, "code", "error"))
            self._stop.wait(_TURN_S)

    def _sequence(self, backend: Backend) -> None:
        try:
            made = backend.sequencer.step()
        except Fenced:
            return
        if made and self._options.checkpoint_file is not None:
            note = backend.log.head().note
            self._options.checkpoint_file.write_text(note or "")

    def _sweep(self, backend: Backend, intake: Intake) -> None:
        intake.sweep()
        backend.intents.step()
        with backend.ports.store.write() as connection:
            backend.artifacts.sweep(connection, instant(backend.ports.clock.now()))

    def _idle(self, backend: Backend) -> bool:
        if not self._options.exit_when_idle:
            return False
        if time.monotonic() - self._last_active_s < self._options.idle_s:
            return False
        if faces_open(self._workspace.state / "faces") or self._busy(backend):
            self._last_active_s = time.monotonic()
            return False
        return True

    def _busy(self, backend: Backend) -> bool:
        table = tables.run
        at_work = sorted(RUN_ACTIVE - {"awaiting_approval", "compensation_failed"})
        count = select(func.count()).select_from(table).where(table.c.state.in_(at_work))
        with backend.ports.store.read() as connection:
            return bool(connection.execute(count).scalar_one())
