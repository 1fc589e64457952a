"""A folder in memory for what tests write, where the machine has one with room. Makes nothing there.

Tests kill processes, never machines: what was written to the system is kept, on a disk or in
memory. On a disk each of some hundred thousand commits waits for it, several milliseconds each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import psutil

_FOLDER: Final = Path("/dev/shm")
_ROOM_BYTES_MIN: Final = 2 * 1024**3
_MEMORY_BYTES_MIN: Final = 4 * 1024**3


def folder_in_memory() -> Path | None:
    """Where everybody may write, programs may be run and enough is free; else None."""
    try:
        found = os.statvfs(_FOLDER)
    except OSError:
        return None
    usable = os.access(_FOLDER, os.W_OK | os.X_OK) and not found.f_flag & os.ST_NOEXEC
    room = found.f_bavail * found.f_frsize >= _ROOM_BYTES_MIN
    memory = psutil.virtual_memory().available >= _MEMORY_BYTES_MIN
    return _FOLDER if usable and room and memory else None


def short_parent() -> Path | None:
    """The folder under which a server's own folder is made: in memory, or where the system says."""
    chosen = os.environ.get("PYTEST_DEBUG_TEMPROOT", "")
    return Path(chosen) if chosen == str(_FOLDER) else None
