"""An audit leaf: what the log shows of one event. Not the event's payload: that is sealed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from control_plane.audit.merkle import hash_leaf
from control_plane.domain.canonical import Json, canonical, digest, instant
from control_plane.errors import PaybillError
from control_plane.secrets.box import open_box, seal

GUARDS_MAX: Final = 1_000

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)


class LeafError(PaybillError):
    """A leaf, or the payload beside it, does not hold.

    Codes: `leaf_malformed`, `leaf_commitment` (the payload is not the one committed to).
    """

    code = "leaf_malformed"


class Guard(BaseModel):
    """What a guarded row became: the SHA-256 of its canonical JSON, or None when it was deleted.

    `before` is what the change found, `absent` where there was no row; None says nothing of it. It
    makes the guards of a row a chain: an alteration from outside stays visible under later changes.
    """

    model_config = _STRICT

    table: str = Field(pattern=r"^\$?[a-z][a-z0-9_]{0,62}$")
    key: str = Field(min_length=1, max_length=500)
    digest: _Digest | None
    before: Annotated[str, Field(pattern=r"^([0-9a-f]{64}|absent)$")] | None = None


class Leaf(BaseModel):
    """The public part of one audit entry; every field is under the leaf's hash.

    `commitment` binds salt and payload, `sealed_digest` the sealed bytes beside the leaf: so an
    auditor without private keys sees an altered box, and its reader an altered payload.
    """

    model_config = _STRICT

    id: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    kind: str = Field(pattern=r"^[a-z][a-z0-9_.]{0,99}$")
    tenant: str = Field(max_length=200)
    recorded_at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
    commitment: _Digest
    sealed_digest: _Digest
    guards: tuple[Guard, ...] = Field(max_length=GUARDS_MAX)

    @field_validator("guards")
    @classmethod
    def _one_guard_a_row(cls, guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
        if len({(guard.table, guard.key) for guard in guards}) != len(guards):
            raise ValueError("a leaf says one thing of one row")
        return guards


class LeafContent(BaseModel):
    """What is sealed: the payload and the salt that keeps its commitment from being guessed."""

    model_config = _STRICT

    payload: dict[str, object]
    salt: str = Field(pattern=r"^[0-9a-f]{32,128}$")


def make_leaf(
    kind: str,
    tenant: str,
    payload: Mapping[str, Json],
    *,
    leaf_id: str,
    salt: str,
    recorded_at: datetime,
    public_key: bytes,
    guards: Sequence[Guard] = (),
) -> tuple[Leaf, bytes]:
    """A leaf and its payload, sealed to `public_key` (the tenant's, or the workspace's).

    `leaf_id` and `salt` are fresh random hexadecimal digits. Raises LeafError when a part breaks a
    rule, TypeError when the payload has no canonical form, BoxError when it cannot be sealed.
    """
    try:
        content = LeafContent(payload=dict(payload), salt=salt)
        opened = canonical(content)
        sealed = seal(public_key, opened, _context(leaf_id))
        leaf = Leaf(
            id=leaf_id,
            kind=kind,
            tenant=tenant,
            recorded_at=instant(recorded_at),
            commitment=hashlib.sha256(opened).hexdigest(),
            sealed_digest=sealed_digest(sealed),
            guards=tuple(guards),
        )
    except ValidationError as error:
        raise _malformed(error) from None
    return leaf, sealed


def open_leaf(sealed: bytes, private: bytes, leaf: Leaf) -> dict[str, Json]:
    """The payload of a leaf, checked against its commitment.

    Raises BoxError when it does not open, LeafError(`leaf_commitment`) when it is another payload.
    """
    opened = open_box(private, sealed, _context(leaf.id))
    if hashlib.sha256(opened).hexdigest() != leaf.commitment:
        raise LeafError("the payload is not the one committed to", code="leaf_commitment")
    try:
        content = LeafContent.model_validate(json.loads(opened))
    except (ValidationError, ValueError):
        raise LeafError("the sealed content is malformed") from None
    return cast("dict[str, Json]", content.payload)


def parse_leaf(text: str | bytes) -> Leaf:
    """Read a leaf's JSON. Raises LeafError naming the first field that breaks a rule."""
    try:
        return Leaf.model_validate_json(text)
    except ValidationError as error:
        raise _malformed(error) from None


def leaf_hash(leaf: Leaf) -> bytes:
    """The RFC 9162 hash of the leaf's canonical JSON: 32 bytes."""
    return hash_leaf(canonical(leaf))


def sealed_digest(sealed: bytes) -> str:
    """The SHA-256 of a sealed payload, 64 hexadecimal digits."""
    return hashlib.sha256(sealed).hexdigest()


def row_digest(row: Mapping[str, object]) -> str:
    """What a guard says of a row: the SHA-256 of its canonical JSON, 64 hexadecimal digits.

    It is not salted, so that an auditor can compare: guarded rows hold no personal data.
    """
    return digest(row)


def _context(leaf_id: str) -> bytes:
    return canonical(["audit leaf", leaf_id])


def _malformed(error: ValidationError) -> LeafError:
    where = error.errors(include_input=False, include_context=False)[0]["loc"]
    return LeafError("leaf: " + ".".join(str(part) for part in where))
