"""How many calls of one caller are under way, over all the connections of a process. Not a queue: one too many is refused."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from control_plane.domain.caller import Caller
from control_plane.errors import Refused


class InFlight:
    """Counts the calls of each (principal, actor); never more than ``calls_max`` at once."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, caller: Caller) -> Generator[None]:
        """Be one of the caller's calls for as long as the block lasts. Refused when they are enough."""
        who = (caller.principal, caller.actor)
        with self._lock:
            if self._counts.get(who, 0) >= self._calls_max:
                raise Refused("Too many calls are in flight.", code="too_many_calls", rule="limits")
            self._counts[who] = self._counts.get(who, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[who] -= 1
                if not self._counts[who]:
                    del self._counts[who]
