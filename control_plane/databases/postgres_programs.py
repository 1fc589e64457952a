"""Postgres's own pg_dump and pg_restore: found, their version asked, started so that no secret shows. Not what they write.

A password goes by the environment of the one child that needs it, never by its command line. What a
program says on stderr may hold rows, and is dropped.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.errors import Failed, Unavailable

_VERSION: Final = re.compile(r"\(PostgreSQL\) ([0-9]{1,3})\b")
_ASKED_S: Final = 10
_BLOCK_BYTES: Final = 2**20
# So often the session that waits for a program says that it is there still.
_BEAT_S: Final = 15.0
_DEADLINE_S: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class DumpPrograms:
    """Both programs of one installation, and its major version."""

    dump: Path
    restore: Path
    major: int


def find_programs(folder: Path | None, search_path: str, major: int) -> DumpPrograms:
    """The programs in the folder, else the newest on the path, of that major version or a newer one.

    Raises Unavailable (`pg_dump_missing`).
    """
    named = [Path(one) for one in search_path.split(os.pathsep)]
    places = [one for one in named if one.is_absolute()] if folder is None else [folder]
    found = [one for one in map(_programs, dict.fromkeys(places)) if one is not None]
    # The newest one: it reads what an older one has written, and not the other way round.
    newest = max(found, key=lambda one: one.major, default=None)
    if newest is not None and newest.major >= major:
        return newest
    raise Unavailable(
        f"pg_dump and pg_restore of version {major} or newer are not found", code="pg_dump_missing"
    )


@contextmanager
def running(
    argv: Sequence[str | Path], environment: Mapping[str, str], beat: Callable[[], object]
) -> Generator[Generator[bytes]]:
    """What a program prints, block by block; `beat` is called while it says nothing for long.

    Whoever reads to the end is told by Failed (`pg_dump_failed`) where it did not end well. It
    ends with the context, and whatever it has started.
    """
    try:
        child = subprocess.Popen(  # noqa: S603 - found by the worker's settings; no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError:
        raise _failed() from None
    with child:
        try:
            yield _printed(child, beat)
        finally:
            _end(child)


def _printed(child: subprocess.Popen[bytes], beat: Callable[[], object]) -> Generator[bytes]:
    assert child.stdout is not None, "opened as a pipe"
    end_s = time.monotonic() + _DEADLINE_S
    beaten_s = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            now_s = time.monotonic()
            if now_s >= end_s:
                raise _failed()
            if now_s - beaten_s >= _BEAT_S:
                beat()
                beaten_s = now_s
            if selector.select(_BEAT_S):
                block = os.read(child.stdout.fileno(), _BLOCK_BYTES)
                if not block:
                    break
                yield block
    try:
        child.wait(_ASKED_S)
    except subprocess.TimeoutExpired:
        raise _failed() from None
    if child.returncode != 0:
        raise _failed()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.returncode is None:  # it is not reaped, so its group is nobody else's yet
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return


def _programs(place: Path) -> DumpPrograms | None:
    dump, restore = place / "pg_dump", place / "pg_restore"
    if not (os.access(dump, os.X_OK) and os.access(restore, os.X_OK)):
        return None
    return DumpPrograms(dump, restore, min(_major(dump), _major(restore)))


def _major(program: Path) -> int:
    try:
        said = subprocess.run(  # noqa: S603 - found by the worker's settings; no shell
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": os.defpath},
            timeout=_ASKED_S,
            check=False,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = _VERSION.search(said.decode("ascii", "replace"))
    return int(found[1]) if found else 0


def _failed() -> Failed:
    return Failed("The program of Postgres ended with an error.", code="pg_dump_failed")
