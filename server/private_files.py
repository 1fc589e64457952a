"""Files and folders that belong to this user alone. Not what stands in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from control_plane.errors import PaybillError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_WRITABLE_BY_OTHERS = 0o022
_OTHERS = 0o077


class NotPrivate(PaybillError):
    """A file or folder does not belong to this user alone."""

    code = "not_private"


def make_private_folder(folder: Path) -> None:
    """Make a folder (0700) with its parents, each 0700, or check the one that stands."""
    missing = [folder, *folder.parents]
    for part in reversed(missing[: _first_standing(missing)]):
        part.mkdir(mode=FOLDER_MODE, exist_ok=True)
    require_own_folder(folder)


def require_own_folder(folder: Path, *, closed: bool = False) -> None:
    """Raise NotPrivate unless it is a real folder of this user that no other may write.

    With `closed`, no other may read or enter it either.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivate(f"{folder} must be a folder, and no link")
    if found.st_uid != os.geteuid():
        raise NotPrivate(f"{folder} belongs to another user", code="not_owner")
    if stat.S_IMODE(found.st_mode) & (_OTHERS if closed else _WRITABLE_BY_OTHERS):
        raise NotPrivate(f"{folder} is open to other users; close it with: chmod 700")


def require_own_file(path: Path) -> None:
    """Raise NotPrivate unless it is a plain file that only this user may reach; FileNotFoundError."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(f"{path} must be a plain file")
    _require_closed(path, found, _OTHERS)


def read_own_file(path: Path, *, bytes_max: int, closed: bool = False) -> bytes:
    """The bytes of a plain file of this user; FileNotFoundError when there is none.

    Raises NotPrivate when another user owns it or may write it (with `closed`: or read it), when it
    is no plain file, or when it exceeds `bytes_max`.
    """
    content, found = read_plain_file(path, bytes_max=bytes_max)
    _require_closed(path, found, _OTHERS if closed else _WRITABLE_BY_OTHERS)
    return content


def read_plain_file(path: Path, *, bytes_max: int) -> tuple[bytes, os.stat_result]:
    """The bytes of a plain file, and no link, of any user. Errors as `read_own_file`."""
    try:
        # O_NONBLOCK: a pipe in the file's place must not hold us for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        raise NotPrivate(f"{path} must be a plain file that this user may read") from None
    with os.fdopen(handle, "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivate(f"{path} must be a plain file")
        content = source.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise NotPrivate(f"{path} must have at most {bytes_max} bytes")
    return content, found


def write_new_file(path: Path, content: bytes, *, mode: int = FILE_MODE) -> None:
    """Write a file that must not be there yet, and see it on the disk. FileExistsError when it is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def sync_folder(folder: Path) -> None:
    """See a folder's names on the disk, so that a rename outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_closed(path: Path, found: os.stat_result, bits: int) -> None:
    if found.st_uid != os.geteuid():
        raise NotPrivate(f"{path} belongs to another user", code="not_owner")
    if stat.S_IMODE(found.st_mode) & bits:
        raise NotPrivate(f"{path} is open to other users; close it with: chmod 600")


def _first_standing(folders: list[Path]) -> int:
    return next((place for place, folder in enumerate(folders) if folder.exists()), len(folders))
