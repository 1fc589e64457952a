"""One question to a program of the user's own, and its answer: on stdin and stdout. Not what they mean."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

# A pipe holds so much before anybody reads: what is asked never waits for the program.
QUESTION_BYTES_MAX: Final = 16_384
_ANSWER_BYTES_MAX: Final = 65_536
_PASSED_ON: Final = ("PATH", "HOME")


class ProgramFailed(Exception):
    """What became of the program, as the end of a sentence about it; never what it said."""


class SaidTooMuch(ProgramFailed):
    """It printed more than 64 KiB."""


def exchange(
    argv: Sequence[str], question: bytes, environment: Mapping[str, str], deadline_s: float
) -> bytes:
    """What the program prints once it was told `question`, at most 64 KiB.

    It sees PATH and HOME of the environment and nothing else, and no shell. Raises ProgramFailed
    where it does not start, does not answer in time, says too much or ends with an error; whatever
    it has started ends with it.
    """
    assert len(question) <= QUESTION_BYTES_MAX, "a question fits into a pipe"
    deadline = time.monotonic() + deadline_s
    try:
        child = subprocess.Popen(  # noqa: S603 - the worker's user named the program; no shell
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: environment[name] for name in _PASSED_ON if name in environment},
            start_new_session=True,
        )
    except (OSError, ValueError):
        raise ProgramFailed("does not start") from None
    with child:
        try:
            _tell(child, question)
            printed = _printed(child, deadline)
        finally:
            _end(child)
    if printed is None:
        raise ProgramFailed("did not answer in time")
    if len(printed) > _ANSWER_BYTES_MAX:
        raise SaidTooMuch("says too much")
    if child.returncode != 0:
        raise ProgramFailed(f"ended with {child.returncode}")
    return printed


def _tell(child: subprocess.Popen[bytes], question: bytes) -> None:
    assert child.stdin is not None, "opened as a pipe"
    try:
        child.stdin.write(question)
        child.stdin.close()
    except BrokenPipeError:
        # It did not care to listen: what it answers tells.
        return


def _printed(child: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """All that it prints, or a byte more than may be; None when it has not ended in time."""
    assert child.stdout is not None, "opened as a pipe"
    read = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while len(read) <= _ANSWER_BYTES_MAX:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            part = os.read(child.stdout.fileno(), _ANSWER_BYTES_MAX + 1 - len(read))
            if not part:
                break
            read += part
    try:
        if len(read) <= _ANSWER_BYTES_MAX:
            child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    return read


def _end(child: subprocess.Popen[bytes]) -> None:
    """A program that has not ended by itself ends now, with whatever it has started."""
    if child.returncode is None:  # it is not reaped, so its group is nobody else's yet
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return
