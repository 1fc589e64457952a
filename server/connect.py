"""Between a client's stdio and a server's socket: bytes there and back. No key, no state, not one word of the protocol."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Final

from control_plane.errors import BadInput, Unavailable

_CHUNK_BYTES: Final = 65_536
_TOKEN_BYTES_MAX: Final = 16_384
_OTHERS: Final = 0o077


def read_token(file: Path) -> str:
    """The token in a file that only its owner may read. Raises BadInput naming `--token-file`."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise BadInput("--token-file", "cannot be read") from None
    with os.fdopen(handle, "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) & _OTHERS:
            raise BadInput("--token-file", "must be a plain file that only its owner may read")
        return source.read(_TOKEN_BYTES_MAX).decode("ascii", "replace").strip()


def open_connection(path: Path, token: str) -> socket.socket:
    """A connection with its preamble sent. Raises Unavailable when nobody serves there."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.connect(str(path))
        opened.sendall(json.dumps({"paybill": 1, "token": token}).encode() + b"\n")
    except FileNotFoundError:
        opened.close()
        raise Unavailable(f"There is no socket at {path}.", code="socket_absent") from None
    except PermissionError:
        opened.close()
        raise Unavailable(f"This user may not connect to {path}.", code="socket_closed") from None
    except OSError:
        opened.close()
        raise Unavailable(f"No server answers at {path}.", code="socket_refused") from None
    return opened


def relay(opened: socket.socket, stdin: int = 0, stdout: int = 1) -> None:
    """Carry bytes until either side closes. Unavailable when the server closed without a word."""
    # A daemon: at the server's end it may be held in a read of stdin that never returns.
    left = threading.Event()
    threading.Thread(target=_upward, args=(stdin, opened, left), daemon=True).start()
    carried = False
    with opened:
        while part := _received(opened):
            carried = True
            _write(stdout, part)
    if not carried and not left.is_set():
        raise Unavailable(
            "The server closed the connection: the token does not hold, or there are too many "
            "connections.",
            code="connection_closed",
        )


def _upward(stdin: int, opened: socket.socket, left: threading.Event) -> None:
    try:
        while part := os.read(stdin, _CHUNK_BYTES):
            opened.sendall(part)
        left.set()
        # Only this direction: the answers to what was asked last are still to come.
        opened.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _received(opened: socket.socket) -> bytes:
    try:
        return opened.recv(_CHUNK_BYTES)
    except OSError:
        return b""


def _write(stdout: int, part: bytes) -> None:
    left = memoryview(part)
    while left:
        left = left[os.write(stdout, left) :]
