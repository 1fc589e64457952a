"""Copies of wrapped data keys beside the workspace's own keys, for when the store is lost. Not what counts while it stands.

A copy never lies with the archives that it opens: whoever has those alone has nothing, and a
shredded key's copies go with its row.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from tempfile import mkstemp
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from control_plane.domain.canonical import canonical
from control_plane.domain.tenant import TenantId
from control_plane.errors import Refused, Unavailable
from control_plane.secrets.data_keys import DataKey
from control_plane.secrets.key_encryption import (
    REFERENCE_CHARS_MAX,
    WRAPPED_BYTES_MAX,
    Wrapped,
)

_BYTES_MAX: Final = 4 * WRAPPED_BYTES_MAX
_NAME: Final = re.compile(r"([a-z][a-z0-9-]{1,38}[a-z0-9])\.([1-9][0-9]{0,8})\.json")


class _Copy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str
    tenant: TenantId
    version: int
    wrapped: Annotated[
        str, StringConstraints(pattern=r"^[0-9a-f]+$", max_length=2 * WRAPPED_BYTES_MAX)
    ]
    kek: Annotated[str, StringConstraints(max_length=REFERENCE_CHARS_MAX)]
    made_at: str


class KeyCopies:
    """Files 0600 in a folder 0700, one a version: `<tenant>.<version>.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: DataKey) -> None:
        """Keep a copy in place of the one before; what is there already stays. Raises Unavailable."""
        if key.wrapped is None:
            return
        wrapped = key.wrapped
        copy = {
            "id": key.id,
            "tenant": key.tenant,
            "version": key.version,
            "wrapped": wrapped.content.hex(),
            "kek": wrapped.kek,
            "made_at": key.made_at,
        }
        content, path = canonical(copy) + b"\n", self._path(key.tenant, key.version)
        try:
            if path.is_file() and path.read_bytes() == content:
                return
            self._folder.mkdir(mode=0o700, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            raise Unavailable("The copies of keys cannot be kept.", code="key_copies") from error

    def get(self, tenant: str, version: int) -> DataKey | None:
        """The copy, or None. Raises Refused (`key_missing`) where it does not read."""
        try:
            with self._path(tenant, version).open("rb") as file:
                content = file.read(_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable("The copies of keys cannot be read.", code="key_copies") from error
        try:
            found = _Copy.model_validate(json.loads(content))
        except (ValueError, ValidationError):
            raise Refused("The copy of the key does not read.", code="key_missing") from None
        if (found.tenant, found.version) != (tenant, version):
            raise Refused("The copy of the key is another's.", code="key_missing")
        wrapped = Wrapped(bytes.fromhex(found.wrapped), found.kek)
        return DataKey(found.id, tenant, version, wrapped, found.made_at)

    def kept(self) -> dict[str, list[int]]:
        """The versions of which there are copies, by tenant."""
        found: dict[str, list[int]] = {}
        if self._folder.is_dir():
            for path in sorted(self._folder.iterdir()):
                named = _NAME.fullmatch(path.name)
                if named is not None:
                    found.setdefault(named[1], []).append(int(named[2]))
        return found

    def forget(self, tenant: str) -> None:
        """Remove every copy of a tenant's keys; nothing happens where there is none."""
        try:
            for version in self.kept().get(tenant, []):
                self._path(tenant, version).unlink(missing_ok=True)
            if self._folder.is_dir():
                _sync(self._folder)
        except OSError as error:
            raise Unavailable("The copies of keys cannot be removed.", code="key_copies") from error

    def _path(self, tenant: str, version: int) -> Path:
        name = f"{tenant}.{version}.json"
        assert _NAME.fullmatch(name) is not None, "a tenant's id makes a file's name"
        return self._folder / name


def _replace(path: Path, content: bytes) -> None:
    handle, name = mkstemp(prefix=".", suffix=".writing", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
