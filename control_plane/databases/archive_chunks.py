"""A stream in chunks of AES-256-GCM under one fresh key. Not the key, nor the file that it goes to.

A chunk's nonce is its number, and says which is the last: none can be left out, moved or cut off
unseen.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.errors import Refused

CHUNK_BYTES: Final = 2**20
TAG_BYTES: Final = 16


class SealedWriter(io.BufferedIOBase):
    """Writes `head` in clear and then chunks as they fill up; `finish` writes the last one."""

    def __init__(self, file: IO[bytes], key: bytes, head: bytes) -> None:
        self._cipher = AESGCM(key)
        self._file = file
        self._hasher = hashlib.sha256()
        self._waiting = bytearray()
        self._size_bytes = 0
        self._number = 0
        self._put(head)

    def writable(self) -> bool:
        return True

    def write(self, content: object, /) -> int:
        given = bytes(content)  # type: ignore[call-overload]
        self._waiting += given
        # A full chunk waits for more: only then is it known not to be the last.
        while len(self._waiting) > CHUNK_BYTES:
            self._seal(bytes(self._waiting[:CHUNK_BYTES]), last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(given)

    def finish(self) -> tuple[str, int]:
        """The SHA-256 of all that was written, and how many bytes it was."""
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()
        return self._hasher.hexdigest(), self._size_bytes

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._number, last=last), chunk, None))
        self._number += 1

    def _put(self, sealed: bytes) -> None:
        self._file.write(sealed)
        self._hasher.update(sealed)
        self._size_bytes += len(sealed)


class SealedReader(io.RawIOBase):
    """Reads chunk by chunk; nothing of a chunk is given before all of it has been proved.

    `read` gives the next bytes of the file, whose head was read already. Raises Refused
    (`archive_altered`).
    """

    def __init__(self, read: Callable[[int], bytes], key: bytes) -> None:
        self._read = read
        self._cipher = AESGCM(key)
        self._number = 0
        self._ready = b""
        self._following: bytes | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        if not self._ready:
            self._ready = self._next()
        view = memoryview(buffer)  # type: ignore[arg-type]
        given = min(len(view), len(self._ready))
        view[:given] = self._ready[:given]
        self._ready = self._ready[given:]
        return given

    def _next(self) -> bytes:
        sealed = self._sealed() if self._following is None else self._following
        if not sealed and self._number > 0:
            return b""
        self._following = self._sealed()
        nonce = _nonce(self._number, last=not self._following)
        self._number += 1
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise altered() from None

    def _sealed(self) -> bytes:
        return self._read(CHUNK_BYTES + TAG_BYTES)


def altered() -> Refused:
    """What lies there is not what was put."""
    return Refused("The archive is not what was put.", code="archive_altered")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
