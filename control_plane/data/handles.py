"""A handle: text that stands for one value of one row, for one caller. Neither the value nor a right to it.

It names collection, field, row, the row's version and when it was given, sealed to caller and
tenant. Nothing of the value is in it: who broke the seal would know of which row it is, and no more.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeGuard
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.sealed_text import raw_of, text_of
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import NotFound

PREFIX: Final = "hdl_"
LIFE: Final = timedelta(hours=1)
CHARS_MAX: Final = 256
_FORM: Final = b"\x01"
# Under GCM-SIV a fixed nonce gives away only that two handles are equal: of the same value, given
# to the same caller in the same second.
_NONCE: Final = bytes(12)
_FIXED: Final = struct.Struct(">QQ16s")
_TAG_BYTES: Final = 16
_BETWEEN: Final = "\0"


class Handle(NamedTuple):
    """Which value: of this field, in this row, at this version. `given` is in whole seconds."""

    collection: str
    field: str
    row_id: str
    version: int
    given: datetime


class Handles:
    """The handles of one caller in one tenant; ``key``: the workspace's, 32 bytes or more."""

    def __init__(self, key: bytes, *, principal: str, actor: str, tenant: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"paybill handle 1")
        self._cipher = AESGCMSIV(derived.derive(key))
        self._holder = canonical(["handle", principal, actor, tenant])

    def seal(self, handle: Handle) -> str:
        """The handle as text that only this caller's calls about this tenant open."""
        seconds = int(handle.given.timestamp())
        fixed = _FIXED.pack(handle.version, seconds, UUID(handle.row_id).bytes)
        plain = fixed + f"{handle.collection}{_BETWEEN}{handle.field}".encode()
        sealed = self._cipher.encrypt(_NONCE, plain, self._holder)
        return PREFIX + text_of(_FORM + sealed)

    def open(self, text: str, *, now: datetime) -> Handle:
        """What was sealed. Raises NotFound for any other text, and for one that has outlived `LIFE`."""
        try:
            raw = raw_of(text.removeprefix(PREFIX), CHARS_MAX)
            if not is_handle_text(text) or raw[:1] != _FORM or len(raw) < 1 + _TAG_BYTES:
                raise ValueError("not a handle")
            handle = _read(self._cipher.decrypt(_NONCE, raw[1:], self._holder))
        except (InvalidTag, ValueError):
            raise NotFound("There is no such handle.") from None
        if now - handle.given > LIFE:
            raise NotFound("There is no such handle.")
        return handle


@dataclass(frozen=True, slots=True)
class Giving:
    """The handles that one answer gives, at one instant."""

    handles: Handles
    given: datetime

    def of(self, collection: Collection, field: str, row_id: str, version: int) -> str:
        """The handle of one value."""
        return self.handles.seal(Handle(collection.name, field, row_id, version, self.given))


def is_handle_text(value: object) -> TypeGuard[str]:
    """Whether the value is written like a handle; that does not make it one."""
    return isinstance(value, str) and value.startswith(PREFIX)


def leaving(
    collection: Collection,
    values: Mapping[str, Json],
    row_id: str,
    version: int,
    giving: Giving | None,
) -> dict[str, Json]:
    """The values of a row as they may leave: of a field that leaves as a handle, that or null.

    Without `giving` the handle is the bare prefix, which opens nothing.
    """
    left = dict(values)
    for name in collection.handled & left.keys():
        if left[name] is not None:
            given = PREFIX if giving is None else giving.of(collection, name, row_id, version)
            left[name] = given
    return left


def takes_all_of(target: Field, source: Field) -> bool:
    """Whether every value of `source` is one that `target` takes, both in the same group.

    Else whether a value fits would tell of it.
    """
    same = ("group", "kind", "currency", "scale", "collection")
    if any(getattr(target, name) != getattr(source, name) for name in same):
        return False
    if target.pattern not in (None, source.pattern):
        return False
    if target.kind == "enum":
        return set(source.values or ()) <= set(target.values or ())
    if target.kind in {"string", "text", "json"}:
        return target.length_max >= source.length_max
    return (target.precision or 0) >= (source.precision or 0)


def _read(plain: bytes) -> Handle:
    version, seconds, row = _FIXED.unpack(plain[: _FIXED.size])
    collection, field = plain[_FIXED.size :].decode().split(_BETWEEN)
    given = datetime.fromtimestamp(seconds, UTC)
    return Handle(collection, field, str(UUID(bytes=row)), version, given)
