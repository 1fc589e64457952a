"""Signs of life as operating-system locks: a face that is open, the one worker of a workspace. No state."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_FACES_MAX = 256


def hold(path: Path) -> int | None:
    """Lock a file for this process's life; its descriptor, or None when another process holds it.

    The descriptor is never inherited: a child that kept it would keep a dead process alive.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def held(path: Path) -> bool:
    """Whether some process holds the file."""
    if not path.exists():
        return False
    descriptor = hold(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


@contextmanager
def open_face(folder: Path, face_id: str) -> Generator[None]:
    """Show that a face is open, for as long as the block lasts."""
    path = folder / f"{face_id}.lock"
    descriptor = hold(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)


def faces_open(folder: Path) -> int:
    """How many faces are open; the files of dead ones are removed."""
    count = 0
    for path in sorted(folder.glob("*.lock"))[:_FACES_MAX]:
        if held(path):
            count += 1
        else:
            path.unlink(missing_ok=True)
    return count
