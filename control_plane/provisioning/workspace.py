"""Where one operation works. Not what is done there, nor where a stack's state lies.

An operation's folder holds a lock that the operation and its Terraform child both keep open: a
folder whose lock is free belongs to nobody that lives, and may be swept.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.errors import Failed

_LOCK: Final = "alive.lock"
_OPERATIONS: Final = ".operations"
_SWEPT_MAX: Final = 1000
_SHORT: Final = Path("/tmp")  # noqa: S108 - what lies there is in a folder of this user alone
_KEPT_MAX: Final = 8
_ROOM_BYTES_MIN: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Folder:
    """One operation's private folder: Terraform works in `module`, all else lies in `home`.

    `sockets` is where providers make theirs: wherever `home` lies, its path is short.
    """

    home: Path
    module: Path
    sockets: Path
    lock_fd: int


def private_folder(path: Path) -> Path:
    """Make `path` and its parents; the last is for this user alone."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def require_room(folder: Path) -> None:
    """See that a state can be written there: one that is cut off is lost. Raises Failed (`disk_full`)."""
    if shutil.disk_usage(folder).free < _ROOM_BYTES_MIN:
        raise Failed("there is no room for a state", retryable=True, code="disk_full")


@contextmanager
def operation(root: Path, tenant: str) -> Generator[Folder]:
    """A fresh folder for one operation of a tenant, removed when it is over."""
    parent = private_folder(root / tenant / _OPERATIONS)
    with _alone(parent):  # nobody sweeps a folder between its making and its lock
        _sweep(parent)
        home = Path(tempfile.mkdtemp(dir=parent))
        lock_fd = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    sockets = _sockets(home)
    try:
        sockets.mkdir(mode=0o700)  # it must not be there: its name is as random as its owner's
        yield Folder(home, private_folder(home / "module"), sockets, lock_fd)
    finally:
        _remove(home)
        os.close(lock_fd)


def _sockets(home: Path) -> Path:
    # A socket's path has at most 104 to 108 bytes, and a state folder's may be longer by itself.
    return _SHORT / f"pb-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def _remove(home: Path) -> None:
    shutil.rmtree(_sockets(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def reuse(kept: Path, into: Path, lock_name: str, lock: bytes | None) -> bool:
    """Copy what `keep` left `into` a folder; False where nothing fits. A `lock` must be the one kept."""
    if not kept.parent.is_dir():
        return False
    with _alone(kept.parent):
        held = kept / lock_name
        known = held.read_bytes() if held.is_file() else None
        if not kept.is_dir() or lock not in (None, known):
            return False
        shutil.copytree(kept, into, symlinks=True, dirs_exist_ok=True)
    return True


def drop_kept(kept: Path) -> None:
    """Forget what `keep` left: it does not serve any more."""
    with _alone(kept.parent):
        shutil.rmtree(kept, ignore_errors=True)


def keep(made: Sequence[Path], kept: Path) -> None:
    """Leave a copy of what an operation made for those like it; never half of it, and few of them."""
    parent = private_folder(kept.parent)
    with _alone(parent):
        by_age = sorted(parent.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in [one for one in by_age if one == kept] + by_age[
            : max(0, len(by_age) - _KEPT_MAX)
        ]:
            shutil.rmtree(old, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(dir=parent))
        for one in made:
            if one.is_dir():
                shutil.copytree(one, draft / one.name, symlinks=True)
            else:
                shutil.copy2(one, draft)
        draft.rename(kept)


def has_others(folder: Folder) -> bool:
    """Whether anything alive works in another folder of the same tenant, or may."""
    parent = folder.home.parent
    with _alone(parent):
        others = [home for home in parent.iterdir() if home != folder.home]
        return not all(_is_left_over(home / _LOCK) for home in others)


def sweep_all(root: Path) -> int:
    """Sweep every tenant's left-over folders; how many there were."""
    return sum(sweep(one) for one in sorted(root.glob(f"*/{_OPERATIONS}")))


def sweep(parent: Path) -> int:
    """Remove folders of operations that nothing alive works in; how many there were."""
    with _alone(parent):
        return _sweep(parent)


@contextmanager
def _alone(parent: Path) -> Generator[None]:
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> int:
    swept = 0
    for home in sorted(parent.iterdir())[:_SWEPT_MAX]:
        if _is_left_over(home / _LOCK):
            _remove(home)
            swept += 1
    return swept


def _is_left_over(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True  # made and locked in one go, alone: whoever made it did not come to its lock
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
