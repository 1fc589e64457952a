"""Which catalog a worker works by, and how it goes over to the next. Decides nothing, and writes no row.

Runs ask for it from their own threads; engines are started and ended by the main thread, in `tick`.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from control_plane.data.collection import Collection
from control_plane.domain.plans import PlanCatalog
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.executor import Executor
from control_plane.engine.house_clock import HouseClock
from control_plane.engine.intents import IntentSweep
from control_plane.errors import Failed, PaybillError, Refused, Unavailable
from control_plane.handlers.catalog_in_force import CatalogMoved, WorkerLeaves
from control_plane.ports import Clock, Compared
from policies.errors import BundleError, GateError
from policies.pdp import new_runtime_dir
from server.catalog import Catalog, load_kept
from server.engine_room import EngineRoom
from server.payment_wiring import provider_names
from server.settings import Settings
from server.worker_state import WorkerState, write_state
from server.workspace import Workspace

# What sends webhooks is the worker's alone; a face imports this file too.
if TYPE_CHECKING:
    from server.hook_wiring import HookRounds

_LOG = logging.getLogger("paybill.worker")
# The main thread comes by several times a second.
_START_S_MAX: Final = 30.0
# Beyond a call's deadline: whoever was answered by then has been answered.
_MARGIN_S: Final = 1.0
_PAUSE_S: Final = 0.1


@dataclass(frozen=True)
class Works:
    """What a worker carries runs out with, all of one catalog."""

    executor: Executor
    intents: IntentSweep
    billing: BillingClock
    house: HouseClock
    hooks: HookRounds


@dataclass(frozen=True)
class _Manned:
    room: EngineRoom
    works: Works | None


class Switchboard:
    """The worker's port Catalogs. ``furnish`` makes the works of a room, and may take a while."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        binary: Path,
        clock: Clock,
        compare: Callable[[str, str], Compared],
    ) -> None:
        self._workspace = workspace
        self._limits = settings.limits
        self._payments = provider_names(settings)
        self._binary = binary
        self._clock = clock
        self._compare = compare
        self._folder = new_runtime_dir()
        self._numbers = 0
        self._furnish: Callable[[EngineRoom], Works] | None = None
        self._changed = threading.Condition()
        self._making = threading.Lock()
        self._to_start: list[EngineRoom] = []
        self._current: _Manned | None = None
        self._next: _Manned | None = None
        self._left: list[tuple[EngineRoom, float]] = []
        self._since_s = time.monotonic()
        self._went_over = False
        self._leaving = False

    # the main thread's -----------------------------------------------------------------------

    def open(self, digest: str) -> None:
        """Start to decide by a kept catalog, at once. Raises GateError, PaybillError."""
        room = self._room(digest)
        room.start()
        self._take(_Manned(room, None))
        room.prove()

    def man(self, furnish: Callable[[EngineRoom], Works]) -> None:
        """Begin to carry out runs as well."""
        self._furnish = furnish
        room = self.room
        works = furnish(room)
        with self._changed:
            self._current = _Manned(room, works)

    def announce(self) -> None:
        """Say in the state file by which engine faces are to decide."""
        write_state(self._workspace.worker_json, self._state_of(self.room))

    def _state_of(self, room: EngineRoom) -> WorkerState:
        told = room.state(self._clock.now())
        return told.model_copy(update={"payments": self._payments})

    def follow(self, digest: str) -> None:
        """Go over to what is in force without a run of this worker's: another one has put it there.

        So it is too where the store took the switch and its answer was lost. Raises GateError,
        PaybillError; then all is as before.
        """
        if digest == self.digest:
            return
        if self._upcoming() != digest:
            room = self._room(digest)
            try:
                room.start()
                room.prove()
                works = None if self._furnish is None else self._furnish(room)
            except BaseException:
                room.stop()
                raise
            self._stand_by(_Manned(room, works))
        self.go_over(digest)

    def tick(self, *, supervise: bool) -> None:
        """Start what is asked for, see that engines live, end those that nobody asks any more."""
        now_s = time.monotonic()
        with self._changed:
            starting = list(self._to_start)
            over = [room for room, until_s in self._left if until_s <= now_s]
            self._left = [one for one in self._left if one[1] > now_s]
            manned = [one.room for one in (self._current, self._next) if one is not None]
        for room in starting:
            _guarded(room.start)
        for room in manned if supervise else ():
            _guarded(partial(room.supervise, now_s))
        for room in over:
            room.stop()
        with self._changed:
            self._to_start = [one for one in self._to_start if one not in starting]
            self._changed.notify_all()

    def once_over(self, act: Callable[[], object]) -> None:
        """Call ``act`` where another catalog is worked by since it was last called without an error."""
        if self._went_over:
            self._went_over = False
            try:
                act()
            except BaseException:
                self._went_over = True
                raise

    def leave(self) -> None:
        """Let whoever waits here go: the worker is about to end."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def close(self) -> None:
        """End every engine."""
        with self._changed:
            rooms = [one.room for one in (self._current, self._next) if one is not None]
            rooms += [*self._to_start, *(room for room, _ in self._left)]
        for room in rooms:
            room.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    # whoever works ---------------------------------------------------------------------------

    @property
    def room(self) -> EngineRoom:
        """The engine that is decided by now."""
        assert self._current is not None, "it is opened first"
        return self._current.room

    @property
    def digest(self) -> str:
        """The catalog that is worked by now."""
        return self.room.catalog.digest

    @property
    def works(self) -> Works:
        """What runs are carried out with now."""
        assert self._current is not None, "it is opened first"
        assert self._current.works is not None, "it is manned before runs are taken"
        return self._current.works

    def work(self, job_id: str) -> str:
        """Carry out a job's run by the catalog that is in force as it is taken up."""
        return self.works.executor.work(job_id)

    def bill(self) -> int:
        """Carry on what has fallen due of billing, by the catalog in force; how many tenants it was."""
        return self.works.billing.step()

    def ask(self) -> int:
        """Ask for what the house is to ask for, by the catalog in force; for how many tenants it was."""
        return self.works.house.step()

    def hook(self) -> int:
        """Work off webhooks that are due, by the catalog in force; how many it was."""
        return self.works.hooks.step()

    # the port Catalogs -----------------------------------------------------------------------

    def collections(self, digest: str) -> tuple[Collection, ...]:
        """What a kept catalog declares."""
        return tuple(self._kept(digest).collections.values())

    def plans(self, digest: str) -> PlanCatalog:
        """The plans that a kept catalog offers."""
        return self._kept(digest).plans

    def compared(self, before: str, after: str) -> Compared:
        """What would change from one to the other."""
        return self._compare(before, after)

    def ready(self, digest: str) -> None:
        """See that everything which decides and works by it stands by; again does nothing."""
        assert self._furnish is not None, "only who carries out runs is asked"
        with self._making:
            if digest in (self.digest, self._upcoming()):
                return
            room = self._room(digest)
            try:
                self._await_start(room)
                room.prove()
                manned = _Manned(room, self._furnish(room))
            except BaseException as error:
                self._leave(room)
                if isinstance(error, GateError):
                    # Not by the code of the engine in force, which a run would wait for.
                    raise Unavailable(
                        "The policy engine of the new catalog does not answer.",
                        code="catalog_not_ready",
                    ) from error
                raise
            self._stand_by(manned)

    def forget(self, digest: str) -> None:
        """Let go of what stands by for it."""
        with self._changed:
            found = self._next
            if found is None or found.room.catalog.digest != digest:
                return
            self._next = None
        self._leave(found.room)

    def go_over(self, digest: str) -> None:
        """Decide and work by it from now on; faces are told before this returns."""
        with self._changed:
            if self.digest == digest:
                return
            found = self._next
            if found is None or found.room.catalog.digest != digest:
                raise Unavailable("It does not stand by.", code="catalog_not_ready")
            try:
                write_state(self._workspace.worker_json, self._state_of(found.room))
            except OSError as error:
                raise Unavailable(
                    "The worker's state file cannot be written.", code="disk_full"
                ) from error
            left, self._next = self.room, None
        self._take(found)
        self._leave(left, after_s=self._limits.call_deadline_s + _MARGIN_S)
        self._went_over = True

    def leaving(self) -> bool:
        """Whether this worker is about to end."""
        return self._leaving

    def await_calls(self, digest: str, should_stop: Callable[[], bool]) -> None:
        """Wait until every call that was decided by an earlier one is past its deadline."""
        until_s = self._since_s + self._limits.call_deadline_s + _MARGIN_S
        while time.monotonic() < until_s:
            if should_stop():
                raise Failed("The run was asked to stop.", code="canceled")
            if self.digest != digest:
                raise CatalogMoved
            if self._leaving:
                raise WorkerLeaves
            time.sleep(_PAUSE_S)

    # means -----------------------------------------------------------------------------------

    def _kept(self, digest: str) -> Catalog:
        return load_kept(self._workspace.catalogs, digest)

    def _room(self, digest: str) -> EngineRoom:
        catalog = self._kept(digest)
        try:
            bundle = catalog.bundle(self._workspace.bundles)
        except BundleError as error:
            raise Refused(str(error), code="bundle_error") from error
        self._numbers += 1
        folder = self._folder / str(self._numbers)
        return EngineRoom(self._binary, catalog, bundle, folder, self._limits.gate_deadline_s)

    def _await_start(self, room: EngineRoom) -> None:
        with self._changed:
            self._to_start.append(room)
            started = self._changed.wait_for(
                lambda: self._leaving or room not in self._to_start, timeout=_START_S_MAX
            )
        if self._leaving:
            raise WorkerLeaves
        if not started:
            raise Unavailable("The worker starts no policy engine now.", code="catalog_not_ready")

    def _stand_by(self, manned: _Manned) -> None:
        with self._changed:
            left, self._next = self._next, manned
        if left is not None:
            self._leave(left.room)

    def _take(self, manned: _Manned) -> None:
        with self._changed:
            self._current, self._since_s = manned, time.monotonic()

    def _leave(self, room: EngineRoom, *, after_s: float = 0.0) -> None:
        with self._changed:
            self._to_start = [one for one in self._to_start if one is not room]
            self._left.append((room, time.monotonic() + after_s))

    def _upcoming(self) -> str | None:
        with self._changed:
            return None if self._next is None else self._next.room.catalog.digest


def _guarded(act: Callable[[], None]) -> None:
    try:
        act()
    except (GateError, PaybillError) as error:
        _LOG.warning("the policy engine: %s", error.code)
