"""What becomes of a webhook's delivery: when it is tried next, and what an answer means. Not sending.

Everything follows from the delivery, an answer, an instant and a seed, so that a sweep that comes
again decides the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.billing.calendar import utc
from control_plane.domain import canonical
from control_plane.domain.delivery import DELIVERY, SEND_DEADLINE_S, DeadCause, Delivery
from control_plane.errors import BadInput, Refused

Verdict: TypeAlias = Literal["delivered", "retry", "final", "gone"]

# Before each attempt, counted from the end of the one before: about three days for all of them.
WAITS: Final[tuple[timedelta, ...]] = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
RETRY_AFTER_MAX: Final = timedelta(hours=24)

_SUCCESS = range(200, 300)
_GONE = 410
# They speak of the size or form of the request, which is the same next time. Any other refusal is
# tried again: a receiver that is being deployed answers 400 to 404 as well, and a lost message costs
# more than nine requests. So is a redirect, which is never followed.
_FINAL = frozenset({413, 414, 415, 431})
# Those with which a receiver may say when to come back.
_THROTTLES = frozenset({429, 503})
_JITTER_SHARE = 10  # up to a tenth of the wait is added
_JITTER_STEPS = 2**64
_JITTER_DIGITS = 16
_MICROSECOND = timedelta(microseconds=1)


class Answer(BaseModel):
    """What came of one attempt: the HTTP status, or None where no answer came in time.

    `retry_after_s` is how long the receiver asked us to wait, in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    status: Annotated[int, Field(ge=100, le=999)] | None = None
    retry_after_s: Annotated[int, Field(ge=0, le=2**31)] = 0


def verdict(status: int | None) -> Verdict:
    """What an HTTP status means; None is no answer, a refused connection or one that timed out.

    `gone` (410) also disables the endpoint. `final` is dead-lettered at once.
    """
    if status is None:
        return "retry"
    if status in _SUCCESS:
        return "delivered"
    if status == _GONE:
        return "gone"
    return "final" if status in _FINAL else "retry"


def next_attempt(
    seed: str, attempts: int, after: datetime, retry_after: timedelta = timedelta(0)
) -> datetime | None:
    """When to try next after `attempts` that failed, the last of which ended at `after` (aware).

    With none made, `after` is when the message was made. None after the last: dead letter. Up to a
    tenth is added to a wait, always the same for the same seed and number, so that messages that
    failed together do not come back together. The receiver may delay it, by a day at most. BadInput
    for a negative count or wait.
    """
    if attempts < 0 or retry_after < timedelta(0):
        raise BadInput("attempts" if attempts < 0 else "retry_after", "must not be negative")
    if attempts >= len(WAITS):
        return None
    wait = WAITS[attempts] + _jitter(seed, attempts, WAITS[attempts])
    return utc(after) + max(wait, min(retry_after, RETRY_AFTER_MAX))


def begin(delivery: Delivery, now: datetime) -> Delivery:
    """The delivery while its next attempt is sent. Refused (`delivery_not_due`) before its time.

    IllegalTransition where it is not pending. The caller has seen that the endpoint is enabled.
    """
    state = DELIVERY.next(delivery.state, "send")
    if delivery.next_attempt_at is None or utc(now) < delivery.next_attempt_at:
        raise Refused(
            "the next attempt of the delivery is not due yet",
            code="delivery_not_due",
            rule="delivery.due",
            fact="next_attempt_at",
        )
    return _with(
        delivery,
        now,
        state=state,
        attempts=delivery.attempts + 1,
        next_attempt_at=None,
        deadline_at=utc(now) + timedelta(seconds=SEND_DEADLINE_S),
        heartbeat_at=utc(now),
    )


def settle(delivery: Delivery, answer: Answer, seed: str, now: datetime) -> Delivery:
    """The delivery after its attempt was answered, or was not, at `now` (aware).

    Where it comes out with the cause `gone`, the caller disables the endpoint in the same
    transaction. IllegalTransition where nothing is being sent.
    """
    meaning = verdict(answer.status)
    status = answer.status
    if meaning == "delivered":
        state = DELIVERY.next(delivery.state, "succeed")
        return _with(delivery, now, **_AT_REST, state=state, last_status=status)
    if meaning == "gone":
        return _dead(delivery, now, "gone", "gone", status)
    if meaning == "final":
        return _dead(delivery, now, "reject", "rejected", status)
    asked_s = answer.retry_after_s if status in _THROTTLES else 0
    at = next_attempt(seed, delivery.attempts, now, timedelta(seconds=asked_s))
    return _waiting(delivery, now, "fail", at, status)


def lose(delivery: Delivery, seed: str, now: datetime) -> Delivery:
    """The delivery after its sender fell silent. The attempt counts, and it is made again.

    IllegalTransition where nothing is being sent.
    """
    at = next_attempt(seed, delivery.attempts, now)
    return _waiting(delivery, now, "lose", at, None)


def disable(delivery: Delivery, now: datetime) -> Delivery:
    """A pending delivery after its endpoint was disabled: a dead letter that can be replayed."""
    return _dead(delivery, now, "disable", "endpoint_disabled", delivery.last_status)


def replay(delivery: Delivery, seed: str, now: datetime) -> Delivery:
    """A dead letter that is tried again from the first attempt on, at once.

    IllegalTransition where it is no dead letter. The caller has seen that the endpoint is enabled.
    """
    return _with(
        delivery,
        now,
        state=DELIVERY.next(delivery.state, "replay"),
        attempts=0,
        replays=delivery.replays + 1,
        cause=None,
        next_attempt_at=next_attempt(seed, 0, now),
    )


def cancel(delivery: Delivery, now: datetime) -> Delivery:
    """A pending delivery or dead letter whose endpoint was removed; it ends."""
    return _ended(delivery, now, "cancel")


def expire(delivery: Delivery, now: datetime) -> Delivery:
    """A dead letter that nobody replayed while it was kept; it ends."""
    return _ended(delivery, now, "expire")


# What a delivery leaves behind when its attempt is over.
_AT_REST: dict[str, None] = {"next_attempt_at": None, "deadline_at": None, "heartbeat_at": None}


def _waiting(
    delivery: Delivery, now: datetime, event: str, at: datetime | None, status: int | None
) -> Delivery:
    # Asked first, so that a delivery that is not being sent answers with what is legal.
    state = DELIVERY.next(delivery.state, event)
    if at is None:
        return _dead(delivery, now, "exhaust", "exhausted", status)
    rest: dict[str, Any] = {**_AT_REST, "next_attempt_at": at}
    return _with(delivery, now, **rest, state=state, last_status=status)


def _dead(
    delivery: Delivery, now: datetime, event: str, cause: DeadCause, status: int | None
) -> Delivery:
    state = DELIVERY.next(delivery.state, event)
    return _with(delivery, now, **_AT_REST, state=state, cause=cause, last_status=status)


def _ended(delivery: Delivery, now: datetime, event: str) -> Delivery:
    state = DELIVERY.next(delivery.state, event)
    return _with(delivery, now, **_AT_REST, state=state, cause=None)


def _with(delivery: Delivery, now: datetime, **changes: Any) -> Delivery:
    kept = {name: getattr(delivery, name) for name in Delivery.model_fields}
    changed = {"changed_at": utc(now), "version": delivery.version + 1, **changes}
    return Delivery.model_validate({**kept, **changed})


def _jitter(seed: str, attempts: int, wait: timedelta) -> timedelta:
    parts = {"of": "delivery_jitter", "seed": seed, "attempts": attempts}
    share = int(canonical.digest(parts)[:_JITTER_DIGITS], 16)
    wait_us = wait // _MICROSECOND
    return wait_us * share // (_JITTER_STEPS * _JITTER_SHARE) * _MICROSECOND
