"""The SQLite engine's files: where they lie, how they appear whole and go. Not what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import mkstemp
from typing import Final

from filelock import FileLock, Timeout

from control_plane.databases.port import check_tenant
from control_plane.domain.home import SLOTS
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import BadInput, Unavailable

_UNFINISHED: Final = ".creating"
# SQLite has no schemas: what shares a server elsewhere has a file of its own here.
_OWN_FILE: Final = ("silo", "bridge")
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's rows lie, and the reference rows that it reads; neither need be there."""

    rows: Path
    reference: Path


class DatabaseFiles:
    """Folders 0700 and files 0600 under one root, for the places of one slot."""

    def __init__(self, root: Path, lock_wait_ms: int, slot: int = 0) -> None:
        if slot not in SLOTS:
            raise BadInput("slot", f"must be {SLOTS.start} to {SLOTS.stop - 1}")
        self._root = root
        # No tenant's id has a dot. The first place has the names that each had before there were others.
        self._slot = f".{slot}" if slot else ""
        self._lock_wait_s = lock_wait_ms / 1_000

    def place(self, tenant: str, model: Isolation) -> Place:
        """The tenant's files. Bridge tenants share one file of reference rows."""
        check_tenant(tenant)
        shared, own = f"pooled{self._slot}", f"{tenant}{self._slot}"
        if model == "pooled":
            return Place(self._root / f"{shared}.db", self._root / f"{shared}.reference.db")
        if model == "silo":
            folder = self._root / model
            return Place(folder / f"{own}.db", folder / f"{own}.reference.db")
        if model == "bridge":
            return Place(self._root / model / f"{own}.db", self._root / "reference.db")
        raise BadInput("model", "must be one of " + ", ".join(ISOLATIONS))

    def is_alone(self, place: Place) -> bool:
        """Whether no other place has the same reference rows."""
        if place.reference.parent == place.rows.parent:
            return True
        return all(path == place.rows for path in place.rows.parent.glob("*.db"))

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
        with self._filled(path, fill) as filled:
            # A write-ahead log that outlived its database would be read into the new one.
            _remove_side_files(path)
            path.hardlink_to(filled)  # unlike a rename, never over a file that is there

    def replace(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Fill a read-only file under another name, then let it take the path, whole.

        Who has the old one open reads on in it. Only under `changing`.
        """
        with self._filled(path, fill) as filled:
            filled.chmod(0o400)
            filled.replace(path)

    @contextmanager
    def trial(self, tenant: str) -> Generator[Path]:
        """A path for a database that is gone at the end; what killed holders left goes first."""
        folder = self._root / "trial"
        name = f"{tenant}.{token_hex(8)}.db"
        lock = FileLock(folder / f"{name}.lock", blocking=False, mode=0o600)
        with self.changing():
            folder.mkdir(mode=0o700, exist_ok=True)
            for leftover in sorted(folder.glob("*.lock")):
                _remove_unless_held(leftover)
            lock.acquire()
        try:
            yield folder / name
        finally:
            self.remove(folder / name)
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    @contextmanager
    def _filled(self, path: Path, fill: Callable[[Path], None]) -> Generator[Path]:
        # Whoever left an unfinished file no longer holds the lock, so it is nobody's.
        for leftover in path.parent.glob(f".{path.name}.*{_UNFINISHED}*"):
            leftover.unlink(missing_ok=True)
        handle, name = mkstemp(prefix=f".{path.name}.", suffix=_UNFINISHED, dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
        try:
            fill(unfinished)
            _sync(unfinished)
            yield unfinished
        finally:
            unfinished.unlink(missing_ok=True)
            _remove_side_files(unfinished)
        _sync(path.parent)

    def remove(self, path: Path) -> None:
        """Take a database away, its name first. Only who holds `changing`, or its trial."""
        path.unlink(missing_ok=True)
        _remove_side_files(path)
        _sync(path.parent)


def _remove_side_files(path: Path) -> None:
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _remove_unless_held(lock_file: Path) -> None:
    lock = FileLock(lock_file, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return
    database = lock_file.with_suffix("")
    database.unlink(missing_ok=True)
    _remove_side_files(database)
    lock_file.unlink(missing_ok=True)
    lock.release()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
