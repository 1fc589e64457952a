"""Secrets as files in a folder that nobody else may enter. No secret manager, and reads none of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from secrets import token_hex
from typing import Final

from control_plane.errors import Unavailable
from control_plane.secrets.secret_place import check_reference

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077


class SecretFolder:
    """SecretPlace in `folder`: one file (0600) each, named by its reference."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, reference: str, secret: str) -> None:
        """Leave the secret, whole or not at all, with no line's end. Raises Unavailable."""
        name = check_reference(reference)
        draft = self._folder / f".{name}.{token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            self._require_closed()
            try:
                with os.fdopen(os.open(draft, flags, _FILE_MODE), "w", encoding="utf-8") as out:
                    out.write(secret)
                    out.flush()
                    os.fsync(out.fileno())
                draft.replace(self._folder / name)
            finally:
                draft.unlink(missing_ok=True)
            self._sync()
        except OSError:
            raise _unavailable("cannot be written") from None

    def drop(self, reference: str) -> None:
        """Remove the file; again changes nothing. Raises Unavailable."""
        name = check_reference(reference)
        if not self._folder.is_dir():
            return
        try:
            (self._folder / name).unlink(missing_ok=True)
            self._sync()
        except OSError:
            raise _unavailable("cannot be written") from None

    def _require_closed(self) -> None:
        self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        found = self._folder.stat()
        if stat.S_IMODE(found.st_mode) & _OTHERS or found.st_uid != os.geteuid():
            raise _unavailable("is open to others")

    def _sync(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unavailable(said: str) -> Unavailable:
    return Unavailable(f"The folder for services' credentials {said}.", code="secret_place")
