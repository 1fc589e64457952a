"""The one hop from async to sync: a bounded thread pool, whose bound is the back-pressure. No logic of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

T = TypeVar("T")
Args = TypeVarTuple("Args")


class DeadlineExceeded(Exception):
    """The call has not answered in time; it goes on, or its own deadlines end it."""


class Hop(Protocol):
    """What takes a synchronous call to a thread."""

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """The function's result; DeadlineExceeded when it takes too long."""
        ...


class Dispatch:
    """Runs synchronous calls on at most ``threads_max`` threads, each within ``deadline_s``.

    A client that cancels stops waiting: the call finishes, or its own deadlines end it.
    """

    def __init__(self, threads_max: int, deadline_s: float) -> None:
        self._limiter = anyio.CapacityLimiter(threads_max)
        self._deadline_s = deadline_s

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """The function's result; DeadlineExceeded when it takes too long."""
        with anyio.move_on_after(self._deadline_s):
            return await anyio.to_thread.run_sync(
                function, *args, abandon_on_cancel=True, limiter=self._limiter
            )
        raise DeadlineExceeded
