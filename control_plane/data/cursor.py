"""A cursor: a page's end, sealed to who may go on from it. Not a right to the next page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict

from control_plane.data.collection import Collection
from control_plane.data.filters import Tree, filter_digest
from control_plane.data.sealed_text import raw_of, text_of
from control_plane.data.sort import Position, Sort
from control_plane.data.values import ValueReader, to_json
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import NotFound

CHARS_MAX: Final = 8_192
_FORM: Final = b"\x01"
# Under GCM-SIV a fixed nonce gives away only that two cursors are equal, and the same page's end
# then always has the same cursor.
_NONCE: Final = bytes(12)


class CursorScope(BaseModel):
    """What a cursor holds for; in any other scope it is not found."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    caller: str
    tenant: str
    collection: str
    filter: str
    sort_field: str
    sort_descending: bool
    bundle: str


def cursor_scope(
    *,
    caller: str,
    tenant: str,
    collection: Collection,
    predicate: Tree | None,
    sort: Sort,
    bundle: str,
) -> CursorScope:
    """The scope of one query: `caller` names principal and actor, `bundle` the policies' digest."""
    return CursorScope(
        caller=caller,
        tenant=tenant,
        collection=collection.digest(),
        filter=filter_digest(predicate),
        sort_field=sort.field,
        sort_descending=sort.descending,
        bundle=bundle,
    )


def seal_cursor(key: bytes, scope: CursorScope, position: Position) -> str:
    """The position as text that only this scope opens; `key`: the workspace's, 32 bytes or more."""
    return seal_end(key, scope, [to_json(position.value), position.id])


def open_cursor(key: bytes, scope: CursorScope, collection: Collection, text: str) -> Position:
    """The position in it. Raises NotFound for any cursor that was not sealed for this scope."""
    value, row_id = open_end(key, scope, text)
    try:
        reader = ValueReader(collection.columns[scope.sort_field])
        return Position(None if value is None else reader.read(value), row_id)
    except (ValueError, KeyError):
        raise NotFound("There is no such cursor.") from None


def seal_end(key: bytes, scope: BaseModel, end: Sequence[Json]) -> str:
    """Any page's end as text that only this scope opens; scopes of two kinds differ in a field."""
    plain = json.dumps(end, ensure_ascii=False)
    sealed = _cipher(key).encrypt(_NONCE, plain.encode(), canonical(scope))
    return text_of(_FORM + sealed)


def open_end(key: bytes, scope: BaseModel, text: str) -> list[Any]:
    """What was sealed for this scope. Raises NotFound for any other cursor."""
    try:
        raw = _decoded(text)
        opened: list[Any] = json.loads(_cipher(key).decrypt(_NONCE, raw[1:], canonical(scope)))
    except (InvalidTag, ValueError):
        raise NotFound("There is no such cursor.") from None
    return opened


def _decoded(text: str) -> bytes:
    raw = raw_of(text, CHARS_MAX)
    if raw[:1] != _FORM or len(raw) < len(_FORM) + 16:
        raise ValueError("not a cursor")
    return raw


def _cipher(key: bytes) -> AESGCMSIV:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"paybill cursor 1").derive(key)
    return AESGCMSIV(derived)
