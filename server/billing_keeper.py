"""A thread in which a worker's billing clock ticks, or its webhooks: others may take seconds. Not the clock, and no rule."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from control_plane.errors import PaybillError

_LOG = logging.getLogger("paybill.billing")
_TICK_S: Final = 1.0


class BillingKeeper:
    """Ticks once a second, and at once while there is more to do, until it is stopped."""

    def __init__(
        self, step: Callable[[], int], name: str = "billing", tick_s: float = _TICK_S
    ) -> None:
        self._step = step
        self._tick_s = tick_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """End after the tick that runs; one that takes longer than the grace ends with the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(grace_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                looked_at = self._step()
            except PaybillError as error:
                # A full disk or a locked store is no reason to end: the next tick tries again.
                _LOG.warning("a tick of %s failed: %s", self._thread.name, error.code)
                looked_at = 0
            if not looked_at:
                self._stop.wait(self._tick_s)
