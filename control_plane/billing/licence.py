"""A licence file, which a tenant's own software verifies offline. Not a subscription, and no store of keys.

The text has the shape of RFC 7468: a line BEGIN PAYBILL LICENCE, base64 in lines of 64 columns, a
line END PAYBILL LICENCE. What a mail adds is passed over: text before and after, white space of
every kind, and the mark `>` before a quoted line. The base64 holds, one after the other:

- 8 bytes: the id of the key, which as 16 hexadecimal digits is `key_id` (see the signer);
- 64 bytes: the Ed25519 signature (RFC 8032) of all that follows;
- the message: canonical JSON (RFC 8785) of `["paybill licence", 1, fields]`.

So the software of a tenant needs base64, JSON and Ed25519, and none of our code. It takes the text
between the two lines, drops white space and marks, decodes it, finds its public key by the first 8
bytes, verifies the next 64 over the rest, and only then reads the rest. It goes on when name,
version, key id and tenant are those it expects, and its clock is not before `not_before` and is
before `expires_at`. The tests hold that software, in fifteen lines.

A key is rotated by its id: the software knows the old public key and the new one until the last
licence of the old one has expired. Nothing offline can call a licence back, so that what may have to
be taken away must expire soon.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from control_plane.domain.canonical import canonical
from control_plane.domain.charge import Feature
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.money import MINOR_MAX
from control_plane.domain.plans import PlanName
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput, Refused
from control_plane.secrets import signer

LICENCE_BYTES_MAX: Final = 16 * 2**10  # what is signed
TEXT_CHARS_MAX: Final = 64 * 2**10  # leaves room for the mail around it
ENTITLEMENTS_MAX: Final = 200

EntitlementValue: TypeAlias = (
    bool
    | Annotated[int, Field(ge=0, le=MINOR_MAX)]
    | Annotated[str, Field(min_length=1, max_length=80)]
)
"""Whether a feature is on, a limit, or a word, as the plan says it; a limit with a fraction is text."""

_NAME: Final = "paybill licence"
_VERSION: Final = 1
_BEGIN: Final = "-----BEGIN PAYBILL LICENCE-----"
_END: Final = "-----END PAYBILL LICENCE-----"
_COLUMNS: Final = 64
_KEY_ID_BYTES: Final = 8
_HEAD_BYTES: Final = _KEY_ID_BYTES + signer.SIGNATURE_BYTES
_ADDED_BY_MAIL: Final = re.compile(r"[\s>]+")


class LicenceTerms(BaseModel):
    """What a tenant is licensed to: from `not_before` on, until `expires_at` (excluded)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tenant: TenantId
    plan: PlanName
    tier: PlanName
    entitlements: Annotated[
        Mapping[Feature, EntitlementValue],
        Field(max_length=ENTITLEMENTS_MAX),
        AfterValidator(MappingProxyType),
    ]
    seats: int = Field(ge=0, le=MINOR_MAX)
    not_before: Instant
    expires_at: Instant

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.not_before >= self.expires_at:
            raise ValueError("it expires after it begins")
        return self


class Licence(LicenceTerms):
    """The terms as they were issued: under which id, when, and signed by which key."""

    id: BillingId
    issued_at: Instant
    key_id: str = Field(pattern=r"^[0-9a-f]{16}$")


_MESSAGE: Final = TypeAdapter(
    tuple[Literal["paybill licence"], Literal[1], Licence], config=ConfigDict(strict=True)
)


def issue(terms: LicenceTerms, *, licence_id: str, issued_at: datetime, seed: bytes) -> str:
    """The text of a licence, ASCII, signed with a seed of 32 bytes. `issued_at` is aware.

    The same arguments give the same text. BadInput where the fields take more than
    LICENCE_BYTES_MAX; SignerError (`signer_seed`); pydantic's ValidationError for an id or an
    instant that does not fit.
    """
    key_id = signer.key_id(signer.public_bytes(seed))
    licence = Licence(id=licence_id, issued_at=issued_at, key_id=key_id, **dict(terms))
    message = _message(licence)
    if len(message) > LICENCE_BYTES_MAX:
        raise BadInput("entitlements", f"a licence has at most {LICENCE_BYTES_MAX} bytes")
    return _armoured(bytes.fromhex(key_id) + signer.sign(seed, message) + message)


def verify(text: str, public_keys: Mapping[str, bytes], now: datetime, *, tenant: str) -> Licence:
    """The licence in `text`, if it holds for `tenant` at `now` (aware).

    `public_keys` are those that are believed: 32 bytes each, by key id. Refused in this order, so
    that nothing is read before its signature holds: `licence_malformed`, `licence_unknown_key`,
    `licence_signature`, `licence_malformed` (what is signed is no licence), `licence_tenant`,
    `licence_not_yet`, `licence_expired`.
    """
    raw = _unarmoured(text)
    key_id, message = raw[:_KEY_ID_BYTES].hex(), raw[_HEAD_BYTES:]
    public = public_keys.get(key_id)
    if public is None:
        raise Refused(
            "the licence is signed by a key that is not known here",
            code="licence_unknown_key",
            rule="licence.key",
            fact="key_id",
        )
    if not signer.verify(public, message, raw[_KEY_ID_BYTES:_HEAD_BYTES]):
        raise Refused(
            "the licence's signature is false", code="licence_signature", rule="licence.signature"
        )
    licence = _read(message)
    if licence.key_id != key_id:
        raise _malformed("the licence names another key than the one that signed it")
    _check_holds(licence, now, tenant)
    return licence


def _check_holds(licence: Licence, now: datetime, tenant: str) -> None:
    if licence.tenant != tenant:
        raise Refused(
            "the licence is another tenant's",
            code="licence_tenant",
            rule="licence.tenant",
            fact="tenant",
        )
    if now < licence.not_before:
        raise Refused(
            "the licence does not hold yet",
            code="licence_not_yet",
            rule="licence.time",
            fact="not_before",
        )
    if now >= licence.expires_at:
        raise Refused(
            "the licence has expired",
            code="licence_expired",
            rule="licence.time",
            fact="expires_at",
        )


def _message(licence: Licence) -> bytes:
    # Name and version are signed too: a signature of this key for something else is no licence.
    return canonical([_NAME, _VERSION, licence])


def _read(message: bytes) -> Licence:
    try:
        _, _, licence = _MESSAGE.validate_json(message)
    except ValidationError:
        raise _malformed("what is signed is not a licence of this version") from None
    if _message(licence) != message:
        raise _malformed("the licence is not in canonical form")
    return licence


def _armoured(raw: bytes) -> str:
    encoded = base64.b64encode(raw).decode("ascii")
    lines = [encoded[start : start + _COLUMNS] for start in range(0, len(encoded), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _unarmoured(text: str) -> bytes:
    if len(text) > TEXT_CHARS_MAX:
        raise _malformed("the text is too long for a licence")
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise _malformed("the text does not hold one licence")
    inner, end, _ = text.partition(_BEGIN)[2].partition(_END)
    encoded = _ADDED_BY_MAIL.sub("", inner)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("the licence is not base64") from None
    # Unused trailing bits would let a licence vary.
    if not end or base64.b64encode(raw).decode("ascii") != encoded:
        raise _malformed("the licence is not base64")
    if not _HEAD_BYTES < len(raw) <= _HEAD_BYTES + LICENCE_BYTES_MAX:
        raise _malformed("the licence is cut off, or too long")
    return raw


def _malformed(message: str) -> Refused:
    return Refused(message, code="licence_malformed", rule="licence.format")
