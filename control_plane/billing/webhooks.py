"""Webhooks: signing one and verifying one, by Standard Webhooks 1.0. Not sending, and not a door.

What is signed is `id.timestamp.body`, the body as the bytes on the wire: whoever verifies a body
that was parsed and written again verifies another message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.billing.calendar import utc
from control_plane.domain.instant import Instant
from control_plane.errors import BadInput, Refused

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
SECRETS_MAX: Final = 8  # of one endpoint, while they are being rotated
TOLERANCE: Final = timedelta(seconds=300)

_PREFIX = "whsec_"
_VERSION = "v1,"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Printable, without the full stop: with one, the same bytes would read as another id and time.
_ID = r"[!-\-/-~]{1,255}"
_FORMS: Mapping[str, str] = {
    ID_HEADER: _ID,
    TIMESTAMP_HEADER: r"0|[1-9][0-9]{0,9}",
    SIGNATURE_HEADER: r"[ -~]{1,4096}",
}

MessageId: TypeAlias = Annotated[str, Field(pattern=rf"^{_ID}$")]


class VerifiedWebhook(BaseModel):
    """What a verified message says of itself: its id, by which a repeat is known, and when it was sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: MessageId
    sent_at: Instant


def new_secret(random: bytes) -> SecretStr:
    """A secret made of 24 to 64 bytes from a source of randomness. BadInput for another length."""
    if not SECRET_BYTES_MIN <= len(random) <= SECRET_BYTES_MAX:
        raise BadInput("random", f"must be {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return SecretStr(_PREFIX + base64.b64encode(random).decode("ascii"))


def sign(secrets: Sequence[SecretStr], id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a message that is sent at the aware instant `at`, which counts in seconds.

    One signature for each secret, so that a receiver may hold the old one or the new one. BadInput
    for an id with a full stop or a space, no secret, more than 8, or one that is malformed.
    """
    if not re.fullmatch(_ID, id):
        raise BadInput("id", "must be 1 to 255 printable characters without space or full stop")
    timestamp = str((utc(at) - _EPOCH) // _SECOND)
    return {
        ID_HEADER: id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: " ".join(_signatures(secrets, id, timestamp, body)),
    }


def verify(
    secrets: Sequence[SecretStr], headers: Mapping[str, str], body: bytes, now: datetime
) -> VerifiedWebhook:
    """The message, once one of its signatures is that of one of the secrets; else Refused.

    `body` is the raw bytes. Header names are compared without regard to case. `webhook_headers` for
    a header that is missing, stands twice or is malformed, `webhook_time` for a message more than
    five minutes away from `now` (aware), `webhook_signature` where none fits. Signatures of other
    versions than `v1` are passed over. BadInput for a malformed secret, which is ours.
    """
    message = _header(headers, ID_HEADER)
    timestamp = _header(headers, TIMESTAMP_HEADER)
    given = _header(headers, SIGNATURE_HEADER).split(" ")
    sent_at = _EPOCH + int(timestamp) * _SECOND
    if abs(utc(now) - sent_at) > TOLERANCE:
        raise Refused(
            "the webhook was sent too long ago, or a clock is wrong",
            code="webhook_time",
            rule="webhook.tolerance",
            fact=TIMESTAMP_HEADER,
        )
    if not _any_equal(given, _signatures(secrets, message, timestamp, body)):
        raise Refused(
            "no signature of the webhook is ours",
            code="webhook_signature",
            rule="webhook.signature",
            fact=SIGNATURE_HEADER,
        )
    return VerifiedWebhook(id=message, sent_at=sent_at)


def _header(headers: Mapping[str, str], wanted: str) -> str:
    values = [value for name, value in headers.items() if name.lower() == wanted]
    if len(values) != 1 or not re.fullmatch(_FORMS[wanted], values[0]):
        raise Refused(
            f"{wanted} must stand once and be well formed",
            code="webhook_headers",
            rule="webhook.headers",
            fact=wanted,
        )
    return values[0]


def _signatures(secrets: Sequence[SecretStr], id: str, timestamp: str, body: bytes) -> list[str]:
    if not 1 <= len(secrets) <= SECRETS_MAX:
        raise BadInput("secrets", f"must be 1 to {SECRETS_MAX}")
    return [_signature(_key(secret), id, timestamp, body) for secret in secrets]


def _signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    made = hmac.new(key, f"{id}.{timestamp}.".encode("ascii"), hashlib.sha256)
    made.update(body)
    return _VERSION + base64.b64encode(made.digest()).decode("ascii")


def _any_equal(given: Sequence[str], expected: Sequence[str]) -> bool:
    # Texts are compared, since base64 has several for the same bytes; and all of them, since the
    # time of a search that stops would tell which secret it was.
    found = False
    for one in given:  # bounded by the length of the header
        for other in expected:
            found |= hmac.compare_digest(one.encode("ascii"), other.encode("ascii"))
    return found


def _key(secret: SecretStr) -> bytes:
    text = secret.get_secret_value()
    encoded = text.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    sound = SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX
    if encoded == text or not sound or base64.b64encode(key) != encoded.encode("ascii"):
        rule = f"must be {_PREFIX} and base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"
        raise BadInput("secret", rule)
    return key
