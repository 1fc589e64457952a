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
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from control_plane.audit.port import Fenced
from control_plane.audit.sequencer import BATCH_MAX
from control_plane.domain.canonical import instant
from control_plane.domain.run import RUN_ACTIVE
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import PaybillError, Unavailable
from control_plane.handlers.catalog_in_force import applied_digest
from control_plane.handlers.forgetting import forget
from control_plane.ports import Compared
from control_plane.store import tables
from policies.binary import find_binary
from policies.errors import GateError
from policies.pdp import RUNTIME_PREFIX
from server.billing_keeper import BillingKeeper
from server.clock import SystemClock
from server.intake import Intake
from server.opening import open_store
from server.presence import faces_open, hold
from server.settings import Settings, process_environment
from server.switchboard import Switchboard
from server.wiring import Backend, store_claim, wire_worker
from server.worker_state import read_state
from server.workspace import Workspace

if TYPE_CHECKING:
    from control_plane.store.claim import WorkerClaim

_LOG = logging.getLogger("paybill.worker")
# Whoever has just asked will ask again soon; a worker that nobody asks looks around less often.
_TURN_S, _CALM_TURN_S = 0.1, 0.25
_CALM_AFTER_S = 10.0
_SWEEP_S = 5.0
# Leaves that came meanwhile share one signature; a whole batch of them waits for no second.
_SEQUENCE_S = 1.0
_CLAIM_S = 1.0
# What the house asks for hangs on days: it is looked for less often than what is charged.
_HOUSE_S = 5.0
# Whom nobody can bring back any more is forgotten within the hour.
_FORGET_S = 3600.0
_IDLE_S = 600.0
_STOP_GRACE_S = 5.0


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
        self._claim = store_claim(workspace)
        self._lost = False
        self._behind = False
        self._forgets_s = time.monotonic()

    def run(self) -> int:
        """Work until told to stop, or idle; 0, also when another worker holds the workspace.

        1 when the claim on a shared store was lost: whoever supervises workers starts it again.
        """
        lock = hold(self._workspace.worker_lock)
        if lock is None:
            _LOG.info("another worker holds this workspace")
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._sweep_predecessor()
        board = self._board()
        try:
            board.open(self._applied())
            if self._claimed(board):
                self._work(board)
        finally:
            self._workspace.worker_json.unlink(missing_ok=True)
            board.close()
            os.close(lock)
        # The claim goes with the process, once the last routine has ended.
        return 1 if self._lost else 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _sweep_predecessor(self) -> None:
        # A killed worker leaves its engines' folder behind, and a state that names it.
        state = read_state(self._workspace.worker_json)
        self._workspace.worker_json.unlink(missing_ok=True)
        if state is not None:
            folder = Path(state.socket).parent.parent
            if folder.name.startswith(RUNTIME_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)

    def _board(self) -> Switchboard:
        binary = find_binary(
            setting=self._settings.cerbos_bin,
            environment=process_environment(),
            cache_dir=self._settings.cache,
            on_progress=_LOG.info,
        ).path

        def compare(before: str, after: str) -> Compared:
            from server.catalog_parts import compared  # only an apply compares

            store = open_store(self._workspace)
            try:
                return compared(self._workspace, lambda: binary, store, before, after)
            finally:
                store.close()

        return Switchboard(self._workspace, self._settings, binary, SystemClock(), compare)

    def _applied(self) -> str:
        store = open_store(self._workspace)
        try:
            with store.read() as connection:
                applied = applied_digest(connection)
        finally:
            store.close()
        if applied is None:
            raise Unavailable("no catalog is applied", code="catalog_absent")
        return applied

    def _claimed(self, board: Switchboard) -> bool:
        """Wait until no worker elsewhere has the store; meanwhile this machine's faces may decide."""
        if self._claim is None or self._taken(self._claim):
            return True
        _LOG.info("a worker elsewhere holds the store: standing by")
        board.announce()
        while not self._stop.wait(_CLAIM_S):
            board.tick(supervise=self._options.supervise)
            taken = self._taken(self._claim)
            self._follow(board)
            if taken:
                self._last_active_s = time.monotonic()
                return True
            if self._unwatched():
                return False
        return False

    def _follow(self, board: Switchboard) -> None:
        """Decide by what is in force: while another worker has the store, it may put that there."""
        try:
            board.follow(self._applied())
        except (PaybillError, GateError) as error:
            _LOG.warning("the catalog in force cannot be followed: %s", error.code)

    def _taken(self, claim: WorkerClaim) -> bool:
        try:
            return claim.take()
        except Unavailable as error:
            _LOG.warning("the store cannot be claimed: %s", error)
            return False

    def _work(self, board: Switchboard) -> None:
        backend = wire_worker(
            self._workspace,
            self._settings,
            board,
            self._options.failpoints,
            self._options.admitted_modules,
            self._options.modules,
        )
        engine = backend.engine
        keepers = (
            BillingKeeper(board.bill),
            BillingKeeper(board.hook, "webhooks"),
            BillingKeeper(board.ask, "house", _HOUSE_S),
        )
        try:
            taken = engine.recover()
            intake = Intake(backend.ports, engine)
            intake.take_up()
            _LOG.info("ready; %d jobs taken over", taken)
            board.announce()
            for keeper in keepers:
                keeper.start()
            self._turn(board, backend, intake)
        finally:
            board.leave()
            for keeper in keepers:
                keeper.stop(_STOP_GRACE_S)
            engine.stop(_STOP_GRACE_S)
            if not self._lost:
                self._sequence(backend)

    def _turn(self, board: Switchboard, backend: Backend, intake: Intake) -> None:
        next_sweep_s = next_look_s = next_signed_s = time.monotonic()
        while not self._stop.is_set() and not self._idle(backend):
            board.tick(supervise=self._options.supervise)
            if time.monotonic() >= next_look_s:
                next_look_s = time.monotonic() + _CLAIM_S
                if self._claim is not None and not self._claim.holds():
                    _LOG.error("the claim on the store is lost: no more jobs are taken")
                    self._lost = True
                    return
            try:
                board.once_over(intake.take_up)
                if intake.step():
                    self._last_active_s = time.monotonic()
                if time.monotonic() >= next_signed_s:
                    whole = self._sequence(backend) >= BATCH_MAX
                    next_signed_s = time.monotonic() + (0.0 if whole else _SEQUENCE_S)
                if time.monotonic() >= next_sweep_s:
                    next_sweep_s = time.monotonic() + _SWEEP_S
                    self._sweep(board, backend, intake)
            except (PaybillError, GateError) as error:
                # A full disk or a locked store is no reason to die: the next turn tries again.
                _LOG.warning("a turn failed: %s", getattr(error, "code", "error"))
            calm = time.monotonic() - self._last_active_s >= _CALM_AFTER_S
            self._stop.wait(_CALM_TURN_S if calm else _TURN_S)

    def _sequence(self, backend: Backend) -> int:
        try:
            made = backend.sequencer.step()
        except Fenced:
            return 0
        if made and self._options.checkpoint_file is not None:
            note = backend.log.head().note
            self._options.checkpoint_file.write_text(note or "")
        return made

    def _sweep(self, board: Switchboard, backend: Backend, intake: Intake) -> None:
        self._catch_up(board, backend)
        intake.sweep()
        board.works.intents.step()
        backend.engine.recover()
        with backend.ports.store.write(":artifacts") as connection:
            backend.artifacts.sweep(connection, instant(backend.ports.clock.now()))
        if time.monotonic() >= self._forgets_s:
            self._forgets_s = time.monotonic() + _FORGET_S
            forget(backend.ports)

    def _catch_up(self, board: Switchboard, backend: Backend) -> None:
        """Go over by itself where the store has moved on and no run says so.

        Seen twice, since who puts a catalog in force needs a moment to say it.
        """
        with backend.ports.store.read() as connection:
            applied = applied_digest(connection)
        moved = applied is not None and applied != board.digest
        if moved and self._behind:
            _LOG.warning("another catalog is in force than is worked by: going over")
            board.follow(str(applied))
        self._behind = moved

    def _idle(self, backend: Backend) -> bool:
        if not self._unwatched():
            return False
        if self._busy(backend):
            self._last_active_s = time.monotonic()
            return False
        return True

    def _unwatched(self) -> bool:
        """Whether it may end when idle, and no face was open for that long."""
        if not self._options.exit_when_idle:
            return False
        if time.monotonic() - self._last_active_s < self._options.idle_s:
            return False
        if faces_open(self._workspace.state / "faces"):
            self._last_active_s = time.monotonic()
            return False
        return True

    def _busy(self, backend: Backend) -> bool:
        table = tables.run
        at_work = sorted(RUN_ACTIVE - {"awaiting_approval", "compensation_failed"})
        count = select(func.count()).select_from(table).where(table.c.state.in_(at_work))
        try:
            with backend.ports.store.read() as connection:
                return bool(connection.execute(count).scalar_one())
        except Unavailable:
            # Whether there is work cannot be told now.
            return True
