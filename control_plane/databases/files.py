"""The SQLite engine's files: where they lie, how they appear whole and go. Not what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from filelock import FileLock, Timeout

from control_plane.databases.port import check_tenant
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import BadInput, Unavailable

_UNFINISHED: Final = ".creating"
# SQLite has no schemas: what shares a server elsewhere has a file of its own here.
_OWN_FILE: Final = ("silo", "bridge")
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


class DatabaseFiles:
    """Folders 0700 and files 0600 under one root."""

    def __init__(self, root: Path, lock_wait_ms: int) -> None:
        self._root = root
        self._lock_wait_s = lock_wait_ms / 1_000

    def path(self, tenant: str, model: Isolation) -> Path:
        """Where the tenant's rows lie; the file need not be there."""
        check_tenant(tenant)
        if model == "pooled":
            return self._root / "pooled.db"
        if model in _OWN_FILE:
            return self._root / model / f"{tenant}.db"
        raise BadInput("model", "must be one of " + ", ".join(ISOLATIONS))

    @contextmanager
    def changing(self) -> Generator[None]:
        """Hold the one right to add and remove files; a killed holder loses it at once.

        Raises Unavailable (`database_busy`) when another holds it for too long.
        """
        for folder in (self._root, *(self._root / model for model in _OWN_FILE)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        lock = FileLock(self._root / ".files.lock", timeout=self._lock_wait_s, mode=0o600)
        try:
            lock.acquire(poll_interval=0.01)
        except Timeout:
            raise Unavailable("The databases are being changed.", code="database_busy") from None
        try:
            yield
        finally:
            lock.release()

    def build(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Fill a file under another name, then let it appear whole. Only under `changing`."""
        # Whoever left an unfinished file no longer holds the lock, so it is nobody's.
        for leftover in path.parent.glob(f".{path.name}.*{_UNFINISHED}*"):
            leftover.unlink(missing_ok=True)
        handle, name = mkstemp(prefix=f".{path.name}.", suffix=_UNFINISHED, dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
        try:
            fill(unfinished)
            _sync(unfinished)
            # A write-ahead log that outlived its database would be read into the new one.
            _remove_side_files(path)
            path.hardlink_to(unfinished)  # unlike a rename, never over a file that is there
        finally:
            unfinished.unlink(missing_ok=True)
            _remove_side_files(unfinished)
        _sync(path.parent)

    def remove(self, path: Path) -> None:
        """Take a database away, its name first. Only under `changing`."""
        path.unlink(missing_ok=True)
        _remove_side_files(path)
        _sync(path.parent)


def _remove_side_files(path: Path) -> None:
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
