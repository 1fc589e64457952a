"""The folder of archives: sealed, whole or not there. Not what is in one, nor how long it is kept.

One file: a mark | a box sealed to the workspace's key, with a fresh key in it | chunks of AES-256-GCM
under that key. A chunk's nonce is its number, and says which is the last: none can be left out,
moved or cut off unseen. Whoever can only write here can put an archive, and open none.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_bytes
from tempfile import mkstemp
from typing import IO, Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.databases.port import check_tenant
from control_plane.domain.canonical import canonical
from control_plane.errors import BadInput, Failed, Refused, Unavailable
from control_plane.ports import ArchiveFile
from control_plane.secrets.box import KEY_BYTES, OVERHEAD_BYTES, BoxError, open_box, seal

CHUNK_BYTES: Final = 2**20
_MARK: Final = b"paybill archive 1\n"
_BOX_BYTES: Final = KEY_BYTES + OVERHEAD_BYTES
_TAG_BYTES: Final = 16
_BACKUP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNFINISHED: Final = ".writing"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ArchiveFolder:
    """Archives under `root`, which must be there: a folder 0700 a tenant, a file 0600 an archive.

    Sealed to `public_key`; `private_key` opens them (both 32 raw bytes).
    """

    def __init__(self, root: Path, public_key: bytes, private_key: bytes) -> None:
        self._root = root
        self._public_key = public_key
        self._private_key = private_key

    def put(self, tenant: str, backup_id: str, write: Callable[[IO[bytes]], None]) -> ArchiveFile:
        """Keep what `write` writes, in place of what stood under the id; its errors pass through.

        Raises Failed (`disk_full`), Unavailable (`archive_unavailable`).
        """
        path = self._path(tenant, backup_id)
        with _translated():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _sync(self._root)
            # One run holds a tenant at a time, so an unfinished file is a killed one's.
            for leftover in path.parent.glob(f".*{_UNFINISHED}"):
                leftover.unlink(missing_ok=True)
            handle, name = mkstemp(prefix=".", suffix=_UNFINISHED, dir=path.parent)
            unfinished = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    sealing = _Sealing(file, self._public_key, _context(tenant, backup_id))
                    # It is one in all that a writer needs; only the stub keeps the two apart.
                    write(cast("IO[bytes]", sealing))
                    kept = sealing.finish()
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync(path.parent)
        return kept

    @contextmanager
    def open(self, tenant: str, backup_id: str, digest: str) -> Generator[IO[bytes]]:
        """What was written, to be read once from its start; the file's digest is looked at first.

        Raises Refused (`archive_missing`; `archive_altered`, also while it is read).
        """
        with self._opened(self._path(tenant, backup_id)) as file:
            with _translated():
                found = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                mark, box = file.read(len(_MARK)), file.read(_BOX_BYTES)
            if found != digest or mark != _MARK:
                raise _altered()
            try:
                key = open_box(self._private_key, box, _context(tenant, backup_id))
            except BoxError as error:
                raise _altered() from error
            yield io.BufferedReader(_Opening(file, key), CHUNK_BYTES)

    def drop(self, tenant: str, backup_id: str) -> None:
        """Forget it; nothing happens when it is gone already."""
        path = self._path(tenant, backup_id)
        with _translated():
            if not path.parent.is_dir():
                return
            path.unlink(missing_ok=True)
            _sync(path.parent)
            with suppress(OSError):  # it holds another archive
                path.parent.rmdir()

    def _path(self, tenant: str, backup_id: str) -> Path:
        if _BACKUP.fullmatch(backup_id) is None:
            raise BadInput("backup_id", "must be 1 to 64 of a-z, A-Z, 0-9, _ and -")
        return self._root / check_tenant(tenant) / f"{backup_id}.archive"

    @contextmanager
    def _opened(self, path: Path) -> Generator[io.BufferedReader]:
        with _translated():
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise Refused("The archive is gone.", code="archive_missing") from None
        with file:
            yield file


class _Sealing(io.BufferedIOBase):
    """Writes chunks as they fill up; `finish` writes the last one."""

    def __init__(self, file: IO[bytes], public_key: bytes, context: bytes) -> None:
        key = token_bytes(KEY_BYTES)
        self._cipher = AESGCM(key)
        self._file = file
        self._hasher = hashlib.sha256()
        self._waiting = bytearray()
        self._size_bytes = 0
        self._number = 0
        self._put(_MARK + seal(public_key, key, context))

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

    def finish(self) -> ArchiveFile:
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()
        return ArchiveFile(self._hasher.hexdigest(), self._size_bytes)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._number, last=last), chunk, None))
        self._number += 1

    def _put(self, sealed: bytes) -> None:
        self._file.write(sealed)
        self._hasher.update(sealed)
        self._size_bytes += len(sealed)


class _Opening(io.RawIOBase):
    """Reads chunk by chunk; nothing of a chunk is given before all of it has been proved."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file = file
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
        sealed = self._read() if self._following is None else self._following
        if not sealed and self._number > 0:
            return b""
        self._following = self._read()
        nonce = _nonce(self._number, last=not self._following)
        self._number += 1
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise _altered() from None

    def _read(self) -> bytes:
        with _translated():
            return self._file.read(CHUNK_BYTES + _TAG_BYTES)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _context(tenant: str, backup_id: str) -> bytes:
    return canonical(["archive", tenant, backup_id])


def _altered() -> Refused:
    return Refused("The archive is not what was put.", code="archive_altered")


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Failed("There is no room left for the archive.", code="disk_full") from error
        raise Unavailable(
            "The folder of archives cannot be used.", code="archive_unavailable"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
