"""Waiting in tests: for a condition, with a deadline. Never for a time alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest

T = TypeVar("T")

PAUSE_S = 0.04
DEADLINE_S = 30.0


def until(found: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first thing found that is neither None nor False; fails the test when it takes too long."""
    pause = threading.Event()
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        seen = found()
        if seen is not None and seen is not False:
            return seen
        pause.wait(PAUSE_S)
    pytest.fail(f"{what}: not within {deadline_s:g} s")


async def reached(
    met: Callable[[], Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S
) -> None:
    """The same beside a client: other tasks go on in the meantime."""
    with anyio.move_on_after(deadline_s):
        while not await met():
            await anyio.sleep(PAUSE_S)
        return
    pytest.fail(f"{what}: not within {deadline_s:g} s")
