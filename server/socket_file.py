"""The socket as a file: made closed, opened to whom it is for, taken away at the end. Nobody is served here."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.errors import BadInput, Unavailable

_PATH_BYTES_MAX: Final = 107
_MODE_MAX: Final = 0o777
_BACKLOG: Final = 64
_CLOSED_UMASK: Final = 0o177


@dataclass(frozen=True)
class SocketFile:
    """Where the socket lies, and who may connect: mode bits, and a group's name if not our own."""

    path: Path
    mode: int = 0o600
    group: str | None = None


def parse_mode(text: str) -> int:
    """`0660` as mode bits. Raises BadInput naming `--socket-mode`."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _MODE_MAX:
        raise BadInput("--socket-mode", "must be an octal mode such as 0660")
    return mode


@contextmanager
def listening(file: SocketFile) -> Generator[socket.socket]:
    """A listening socket that is closed, and its file removed, at the end.

    Raises BadInput naming `--socket` or `--socket-group`; Unavailable when another serves there.
    """
    group = _group(file.group)
    if len(bytes(file.path)) > _PATH_BYTES_MAX:
        raise BadInput("--socket", f"must have at most {_PATH_BYTES_MAX} bytes")
    _clear(file.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        _bind(made, file.path)
        ours = file.path.lstat()
        try:
            if group is not None:
                os.chown(file.path, -1, group)
            file.path.chmod(file.mode)
            # Only now: nobody can be in the queue who came while the file stood otherwise.
            made.listen(_BACKLOG)
            yield made
        finally:
            _remove(file.path, ours)


def _bind(made: socket.socket, path: Path) -> None:
    before = os.umask(_CLOSED_UMASK)
    try:
        made.bind(str(path))
    except OSError as error:
        raise BadInput("--socket", f"cannot be made: {errno.errorcode[error.errno or 0]}") from None
    finally:
        os.umask(before)


def _group(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise BadInput("--socket-group", "names no group of this machine") from None


def _clear(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise BadInput("--socket", "names something that is not this user's socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        if asked.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise Unavailable("Another server listens on this socket.", code="socket_taken")
    path.unlink(missing_ok=True)


def _remove(path: Path, ours: os.stat_result) -> None:
    try:
        if os.path.samestat(path.lstat(), ours):
            path.unlink()
    except FileNotFoundError:
        return
