"""One Terraform command as a child process, with a deadline and a stop. It knows no stack.

What the child says goes to files, never to a pipe: a child that outlives a killed worker would get
SIGPIPE between an effect and the state that records it, and the effect would be made again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.errors import Unavailable


def never() -> bool:
    """Nobody asks to stop."""
    return False


def _unrecorded(_pid: int) -> None:
    """Nobody wants to know the process id."""


@dataclass(frozen=True)
class RunnerSettings:
    """How every command runs.

    deadline_s bounds one command; grace_s is the time between SIGINT, the second SIGINT and the
    kill; poll_s bounds how late a wish to stop is seen. lock_timeout_s is how long a
    command waits for a state that another one holds.
    """

    deadline_s: float = 900.0
    grace_s: float = 30.0
    poll_s: float = 0.05
    lock_timeout_s: int = 60
    search_path: str = "/usr/bin:/bin"
    on_started: Callable[[int], None] = field(default=_unrecorded)


@dataclass(frozen=True)
class Finished:
    """How a command ended: rc is negative after a signal; the paths hold what it said."""

    rc: int
    log_path: Path
    error_path: Path
    killed: bool
    interrupted: bool


class Runner:
    """Runs commands in one operation's folder, with an environment made from nothing."""

    def __init__(self, settings: RunnerSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = dict(environment)

    def run(
        self,
        argv: tuple[str, ...],
        folder: Path,
        log_path: Path,
        *,
        should_stop: Callable[[], bool] = never,
        keep_fds: tuple[int, ...] = (),
    ) -> Finished:
        """Run `argv` in `folder` until it ends, is stopped or its deadline passes.

        keep_fds stay open in the child: a lock on one of them lives exactly as long as the child.
        Raises Unavailable when the executable cannot be started.
        """
        error_path = log_path.with_suffix(".err")
        with log_path.open("xb") as log, error_path.open("xb") as errors:
            try:
                child = subprocess.Popen(  # noqa: S603 - arguments of our own making, no shell
                    argv,
                    cwd=folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=keep_fds,
                )
            except OSError as error:
                raise Unavailable("Terraform does not start") from error
        interrupted = killed = True  # what holds if even the supervision below is broken off
        try:
            self._settings.on_started(child.pid)
            interrupted, killed = self._supervise(child, should_stop)
        finally:
            # Whatever a provisioner left behind goes too. The child is not reaped yet, so its
            # process group cannot have become somebody else's.
            _signal_group(child.pid)
            rc = child.wait()
        return Finished(rc, log_path, error_path, killed, interrupted)

    def _supervise(
        self, child: subprocess.Popen[bytes], should_stop: Callable[[], bool]
    ) -> tuple[bool, bool]:
        """Wait for the end; (interrupted, killed) say what it took."""
        ended = _end_of(child.pid)
        try:
            if self._wait(ended, self._settings.deadline_s, should_stop):
                return False, False
        except BaseException:
            # Whoever asks has failed, and not the child: it is stopped, and never cut off first.
            self._interrupt(child, ended)
            raise
        return True, not self._interrupt(child, ended)

    def _interrupt(self, child: subprocess.Popen[bytes], ended: threading.Event) -> bool:
        """Ask the child to end; whether it did."""
        for _attempt in range(2):  # the second SIGINT makes Terraform give up its own grace
            child.send_signal(signal.SIGINT)
            if self._wait(ended, self._settings.grace_s, never):
                return True
        return False

    def _wait(
        self, ended: threading.Event, seconds: float, should_stop: Callable[[], bool]
    ) -> bool:
        deadline = time.monotonic() + seconds
        while not ended.wait(self._settings.poll_s):
            if should_stop() or time.monotonic() >= deadline:
                return ended.is_set()
        return True


def _end_of(pid: int) -> threading.Event:
    """An event that is set once a child has ended; it is not reaped by that.

    A thread waits for it, because looking now and then would find each end half a look too late.
    """
    ended = threading.Event()

    def wait() -> None:
        with suppress(ChildProcessError):  # whoever broke the supervision off has reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ended.set()

    threading.Thread(target=wait, name="terraform", daemon=True).start()
    return ended


def _signal_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (
        ProcessLookupError,
        PermissionError,
    ):  # macOS says EPERM for a group of zombies
        return
