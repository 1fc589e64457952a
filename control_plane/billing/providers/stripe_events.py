"""An inbound webhook of Stripe's: proving its sender, and what it says of an attempt. Not a door, and no call to Stripe.

The proof is a few lines of our own and not the SDK's: the SDK reads the machine's clock, knows one
secret at a time and takes a message from the future; and a face that only listens needs no SDK.
The scheme: https://docs.stripe.com/webhooks/signature
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from control_plane.billing.calendar import utc
from control_plane.billing.provider import Answer, ProviderEvent
from control_plane.billing.providers.stripe_intent import (
    ATTEMPT_KEY,
    Intent,
    answer_of,
    read_intent,
)
from control_plane.domain.invoice import BillingId
from control_plane.errors import BadInput, Refused

SIGNATURE_HEADER: Final = "stripe-signature"
TOLERANCE: Final = timedelta(seconds=300)
SECRETS_MAX: Final = 8
# The kinds that tell of an attempt; an endpoint at Stripe need send no others.
EVENT_KINDS: Final[tuple[str, ...]] = (
    "payment_intent.succeeded",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
)

_HEADER = re.compile(r"[!-~]{1,4096}")
_TIME = re.compile(r"0|[1-9][0-9]{0,9}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_ATTEMPT: TypeAdapter[str] = TypeAdapter(BillingId)


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    object: dict[str, Any]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str = Field(pattern=r"^evt_[A-Za-z0-9_]{1,250}$")
    type: str
    created: int = Field(ge=0, le=9_999_999_999)
    data: _Data


def verify(
    secrets: Sequence[SecretStr], headers: Mapping[str, str], body: bytes, now: datetime
) -> None:
    """Refused unless the raw bytes were signed with one of the secrets, within 300 s of `now` (aware).

    Several secrets stand beside each other while one is rotated. Codes: `webhook_headers`,
    `webhook_time`, `webhook_signature`. BadInput for no secret, more than 8, or an empty one.
    """
    if not 1 <= len(secrets) <= SECRETS_MAX or not all(one.get_secret_value() for one in secrets):
        raise BadInput("secrets", f"must be 1 to {SECRETS_MAX}, and none empty")
    timestamp, given = _header(headers)
    if abs(utc(now) - (_EPOCH + int(timestamp) * _SECOND)) > TOLERANCE:
        raise _refused("webhook_time", "the webhook was sent too long ago, or a clock is wrong")
    found = False
    for secret in secrets:
        expected = _signature(secret, timestamp, body)
        for one in given:  # all of them: the time of a search that stops tells which it was
            found |= hmac.compare_digest(one.encode("ascii"), expected)
    if not found:
        raise _refused("webhook_signature", "no signature of the webhook is Stripe's")


def read_event(
    secrets: Sequence[SecretStr], headers: Mapping[str, str], body: bytes, now: datetime
) -> ProviderEvent | None:
    """What a webhook says of an attempt of ours; None where it is of none, or of another kind.

    A failure is told without an answer: Stripe's word for it does not say whether the payment could
    still succeed, so it is asked for (`PaymentProvider.ask`), which closes it. Errors of `verify`;
    BadInput for signed bytes that are no event.
    """
    verify(secrets, headers, body, now)
    event = _event(body)
    if event.type not in EVENT_KINDS:
        return None
    try:
        intent = read_intent(event.data.object)
    except ValidationError:
        raise _malformed() from None
    attempt = _attempt(intent)
    if attempt is None:
        return None
    return ProviderEvent(
        id=event.id,
        occurred_at=_EPOCH + event.created * _SECOND,
        attempt=attempt,
        answer=_final(answer_of(intent)),
    )


def _header(headers: Mapping[str, str]) -> tuple[str, list[str]]:
    values = [value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER]
    if len(values) == 1 and _HEADER.fullmatch(values[0]):
        parts = [part.partition("=") for part in values[0].split(",")]
        times = [value for name, _, value in parts if name == "t" and _TIME.fullmatch(value)]
        if len(times) == 1:
            return times[0], [value for name, _, value in parts if name == "v1"]
    raise _refused("webhook_headers", f"{SIGNATURE_HEADER} must stand once and be well formed")


def _signature(secret: SecretStr, timestamp: str, body: bytes) -> bytes:
    key = secret.get_secret_value().encode()
    made = hmac.new(key, f"{timestamp}.".encode("ascii"), hashlib.sha256)
    made.update(body)
    return made.hexdigest().encode("ascii")


def _event(body: bytes) -> _Event:
    try:
        return _Event.model_validate(json.loads(body))
    except (ValueError, RecursionError):
        raise _malformed() from None


def _attempt(intent: Intent) -> str | None:
    try:
        return _ATTEMPT.validate_python(intent.metadata.get(ATTEMPT_KEY), strict=True)
    except ValidationError:
        return None


def _final(answer: Answer | None) -> Answer | None:
    return None if answer is None or answer.kind in {"failed", "canceled"} else answer


def _malformed() -> BadInput:
    return BadInput("body", "must be an event as Stripe writes it")


def _refused(code: str, message: str) -> Refused:
    rule = f"webhook.{code.removeprefix('webhook_')}"
    return Refused(message, code=code, rule=rule, fact=SIGNATURE_HEADER)
