"""The end of a face: signals before it serves, while it serves, and a second one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import anyio
import pytest

from server.ending import Ending

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


async def told(ending: Ending, *sent: signal.Signals) -> int:
    """How often a face that begins to serve now is told, once each of these was sent to it."""
    count = 0

    def tell() -> None:
        nonlocal count
        count += 1
        if count <= len(sent):
            os.kill(os.getpid(), sent[count - 1])
        else:
            tasks.cancel_scope.cancel()

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ending.each, tell)
    return count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_a_face_serves_is_found_when_it_does(number: signal.Signals) -> None:
    ending = Ending()
    os.kill(os.getpid(), number)
    assert anyio.run(told, ending) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_face_that_serves_is_told_of_every_signal(number: signal.Signals) -> None:
    ending = Ending()
    os.kill(os.getpid(), number)
    assert anyio.run(told, ending, number, number) == 3


def test_nothing_is_raised_where_a_signal_falls() -> None:
    Ending()
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_signal_before_a_face_serves_is_the_systems() -> None:
    Ending()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
