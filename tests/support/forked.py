"""Our own programs as real processes, forked from one that has imported them already. Not for tests of how they start.

Importing takes most of what a short-lived worker or server costs. What a client starts by itself,
and every test of the door, still goes through a fresh interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias, cast

import anyio
import anyio.to_thread
from mcp.server.stdio import stdio_server

import paybill
from server.clock import SystemClock

_GRACE_S = 10.0
_CONTEXT = multiprocessing.get_context("forkserver")
# As the SDK types it: a pair of streams of messages.
Streams: TypeAlias = tuple[Any, Any]


class Forked:
    """A child by its pid, with the few words of `subprocess.Popen` that tests use."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended: a status, minus the signal that ended it, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for its end; `subprocess.TimeoutExpired` when it takes longer than that many seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("paybill", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Start:
    """What a program is started with: arguments, its whole environment, a folder, a file for what it says.

    With `pipes`, the ends that it reads and writes, stdout is one of them and no file. One that
    `hangs` is not given time to end by itself. Its clock stands `ahead` of ours, or behind it.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    log: Path
    own_session: bool = False
    hangs: bool = False
    ahead: timedelta = timedelta()
    pipes: tuple[Connection, Connection] | None = field(default=None, repr=False)


def start_paybill(start: Start) -> Forked:
    """Start `paybill` with these arguments; the caller ends it."""
    process = _server().Process(target=_become, args=(start,))
    process.start()
    return Forked(process)


@asynccontextmanager
async def forked_stdio(start: Start) -> AsyncGenerator[Streams]:
    """A transport for MCP's client over the pipes of a child of its own, which ends with the block."""
    theirs_in, ours_out = _CONTEXT.Pipe(duplex=False)
    ours_in, theirs_out = _CONTEXT.Pipe(duplex=False)
    child = start_paybill(replace(start, pipes=(theirs_in, theirs_out)))
    theirs_in.close()
    theirs_out.close()
    # What goes in a file of lines: the SDK's own framing serves for both ends of a pipe.
    with _text(ours_in, "r") as said, _text(ours_out, "w") as told:
        async with stdio_server(anyio.wrap_file(said), anyio.wrap_file(told)) as streams:
            try:
                yield streams
            finally:
                with anyio.CancelScope(shield=True):
                    told.close()
                    await anyio.to_thread.run_sync(_end, child, 0.0 if start.hangs else _GRACE_S)


@contextmanager
def forked_pipes(start: Start) -> Generator[tuple[Forked, BinaryIO, BinaryIO]]:
    """A child of its own with the bytes that it reads and that it writes; ended with the block."""
    theirs_in, ours_out = _CONTEXT.Pipe(duplex=False)
    ours_in, theirs_out = _CONTEXT.Pipe(duplex=False)
    child = start_paybill(replace(start, pipes=(theirs_in, theirs_out)))
    theirs_in.close()
    theirs_out.close()
    with _opened(ours_out, "wb") as told, _opened(ours_in, "rb") as said:
        try:
            yield child, told, said
        finally:
            told.close()
            _end(child, _GRACE_S)


def _opened(end: Connection, mode: str) -> BinaryIO:
    number = os.dup(end.fileno())
    end.close()
    return cast("BinaryIO", os.fdopen(number, mode))


def _text(end: Connection, mode: str) -> TextIO:
    number = os.dup(end.fileno())
    end.close()
    return cast("TextIO", os.fdopen(number, mode, encoding="utf-8"))


def _end(child: Forked, grace_s: float) -> None:
    # It has been told by the end of its input.
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(_GRACE_S)


@cache
def _server() -> ForkServerContext:
    _CONTEXT.set_forkserver_preload(["pytest", "tests.support.preloaded"])
    return _CONTEXT


def _become(start: Start) -> None:
    if start.own_session:
        os.setsid()
    if start.ahead:
        _turn(start.ahead)
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    logged = os.open(start.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    if start.pipes is None:
        read, written = os.open(os.devnull, os.O_RDONLY), logged
    else:
        read, written = (os.dup(end.fileno()) for end in start.pipes)
        for end in start.pipes:
            end.close()
    for number, opened in ((0, read), (1, written), (2, logged)):
        os.dup2(opened, number)
    for opened in {read, written, logged}:
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv = ["paybill", *start.arguments]
    paybill.main()


def _turn(ahead: timedelta) -> None:
    told = SystemClock.now

    def now(self: SystemClock) -> datetime:
        return told(self) + ahead

    # This child's only: every port's clock is one of these.
    setattr(SystemClock, "now", now)  # noqa: B010 - a method is not assigned
