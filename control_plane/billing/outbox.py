"""Webhooks that go out: told with the change, leased, settled with an answer. Not the sending, and not its rules.

A message is written in the transaction of the change that it tells of, so that neither stands without
the other. It goes to each endpoint at least once: an attempt whose end is unknown is made again, under
the same id, by which the receiver knows a repeat. Order is not promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from control_plane.billing import delivery as rules
from control_plane.billing import webhook_endpoints
from control_plane.billing.delivery import Answer
from control_plane.billing.webhook_endpoints import Endpoint, MessageKind
from control_plane.domain.canonical import Json, canonical, digest, instant, plain
from control_plane.domain.delivery import DELIVERY, Delivery
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.store.rows import by, parse
from control_plane.store.webhook_tables import webhook_delivery, webhook_message

BODY_BYTES_MAX: Final = 262_144
BATCH: Final = 16
BATCH_MAX: Final = 1_000
PER_ENDPOINT: Final = 4
"""Of one endpoint in a batch, so that one that does not answer holds up no other."""
KEPT: Final = timedelta(days=30)

# An error must not tell what was in a body.
_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
_ID_DIGITS: Final = 32
_FORGOTTEN_MAX: Final = 1_000
_D: Final = webhook_delivery.c
_M: Final = webhook_message.c
# Made once: to build a statement costs more than to run it.
_RANK: Final[Any] = func.row_number().over(
    partition_by=_D.endpoint, order_by=(_D.next_attempt_at, _D.id)
)
_RANKED: Final = (
    select(_D.id, _RANK.label("rank")).where(_D.next_attempt_at <= bindparam("now")).subquery()
)
_DUE: Final = (
    select(webhook_delivery)
    .where(
        _D.id.in_(select(_RANKED.c.id).where(_RANKED.c.rank <= PER_ENDPOINT)),
        # Again, since a row may have been taken before it was locked.
        _D.next_attempt_at <= bindparam("now"),
    )
    .order_by(_D.next_attempt_at, _D.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_LOST: Final = (
    select(webhook_delivery)
    .where(_D.deadline_at <= bindparam("now"))
    .order_by(_D.deadline_at, _D.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE: Final = select(_D.id).where(_D.next_attempt_at <= bindparam("now")).limit(1)
_ANY_LOST: Final = select(_D.id).where(_D.deadline_at <= bindparam("now")).limit(1)
_BODY: Final = select(_M.body).where(_M.id == bindparam("id"))


class Message(BaseModel):
    """What is told of one change of a tenant. Its id comes from the change, so that it is told once.

    `data` holds nothing that the tenant may not know.
    """

    model_config = _STRICT

    id: BillingId
    tenant: TenantId
    kind: MessageKind
    data: Annotated[Mapping[str, Json], Field(repr=False)]
    made_at: Instant

    @property
    def body(self) -> bytes:
        """The bytes that are signed and sent: JSON of type, timestamp, tenant and data."""
        return canonical(
            {
                "type": self.kind,
                "timestamp": self.made_at,
                "tenant": self.tenant,
                "data": self.data,
            }
        )


class Parcel(BaseModel):
    """One attempt that is to be made: what is sent, where, and signed with what."""

    model_config = _STRICT

    delivery: Delivery
    url: str
    secrets: tuple[SecretStr, ...]
    body: Annotated[bytes, Field(repr=False)]


def publish(connection: Connection, message: Message) -> int:
    """Write a message in the transaction of its change; how many endpoints are to be told.

    None where nobody asked for it, or it was published before. Refused (`webhook_altered`) for other
    content under an id that is known; BadInput for more than 256 KiB.
    """
    body = message.body
    if len(body) > BODY_BYTES_MAX:
        raise BadInput("data", f"must be at most {BODY_BYTES_MAX} bytes of JSON")
    endpoints = webhook_endpoints.receivers(connection, message.tenant, message.kind)
    if not endpoints or not _told(connection, message, body):
        return 0
    for endpoint in endpoints:  # bounded: so many an owner may have
        _put(connection, _new(message, endpoint.id))
    return len(endpoints)


def publish_to(connection: Connection, message: Message, endpoint_id: str) -> str:
    """Write a message for one endpoint alone, whatever it asked for; the delivery's id.

    NotFound where there is no such endpoint; Refused (`endpoint_disabled`) where nothing is sent
    there, `webhook_altered` for an id that is known.
    """
    endpoint = webhook_endpoints.find(connection, endpoint_id)
    if endpoint is None:
        raise NotFound
    _require_enabled(endpoint)
    if not _told(connection, message, message.body):
        raise _altered()
    made = _new(message, endpoint_id)
    _put(connection, made)
    return made.id


def waiting(connection: Connection, now: datetime) -> bool:
    """Whether any attempt is due, or was given up: a look that writes nothing."""
    given = {"now": instant(now)}
    return any(connection.execute(one, given).first() for one in (_ANY_DUE, _ANY_LOST))


class Outbox:
    """What a worker does with deliveries that wait. It opens the endpoints' secrets."""

    def __init__(self, workspace_private: bytes) -> None:
        self._private = workspace_private

    def lease(self, connection: Connection, now: datetime, count: int = BATCH) -> list[Parcel]:
        """At most `count` attempts that are due, each begun: `settle` it within a minute.

        Those whose sender fell silent are set to be tried again first. What waits for an endpoint
        that was disabled or removed ends here, and is not told. BadInput for a count below 1 or above
        1,000.
        """
        if not 1 <= count <= BATCH_MAX:
            raise BadInput("count", f"must lie between 1 and {BATCH_MAX}")
        given = {"now": instant(now), "count": count}
        for lost in _deliveries(connection, _LOST, given):
            _put_over(connection, lost, rules.lose(lost, lost.id, now), last_fault="lost")
        due = _deliveries(connection, _DUE, given)
        return [one for each in due if (one := self._parcel(connection, each, now)) is not None]

    def _parcel(self, connection: Connection, due: Delivery, now: datetime) -> Parcel | None:
        endpoint = webhook_endpoints.find(connection, due.endpoint)
        if endpoint is None or endpoint.removed_at is not None:
            _put_over(connection, due, rules.cancel(due, now))
            return None
        if not endpoint.enabled:
            _put_over(connection, due, rules.disable(due, now))
            return None
        begun = rules.begin(due, now)
        _put_over(connection, due, begun)
        return Parcel(
            delivery=begun,
            url=endpoint.url,
            secrets=webhook_endpoints.secrets_of(connection, self._private, endpoint.id, now),
            body=connection.execute(_BODY, {"id": due.message}).scalar_one(),
        )


def settle(
    connection: Connection,
    begun: Delivery,
    answer: Answer,
    now: datetime,
    fault: str | None = None,
) -> Delivery:
    """The delivery after its attempt; a 410 disables the endpoint in the same transaction.

    `fault` says in a word why no answer came. Refused (`lease_lost`) where the attempt was given up
    meanwhile: it is made again, whatever came of it.
    """
    ended = rules.settle(begun, answer, begun.id, now)
    _put_over(connection, begun, ended, last_fault=fault)
    if ended.cause == "gone":
        standing = webhook_endpoints.find(connection, begun.endpoint)
        if standing is not None and standing.enabled:
            webhook_endpoints.disable(connection, begun.endpoint, "gone", now)
    return ended


def find(connection: Connection, delivery_id: str) -> Delivery | None:
    """The delivery of that id, or None."""
    return by(connection, _D.id, Delivery, delivery_id)


def of_message(connection: Connection, message_id: str) -> list[Delivery]:
    """Where a message stands with each endpoint; none once it was forgotten."""
    wanted = select(webhook_delivery).where(_D.message == message_id).order_by(_D.id)
    return _deliveries(connection, wanted, {})


def dead_letters(
    connection: Connection, endpoint_id: str, count: int = BATCH_MAX
) -> list[Delivery]:
    """The dead letters of an endpoint, the oldest first, at most `count`."""
    wanted = (
        select(webhook_delivery)
        .where(_D.endpoint == endpoint_id, _D.state == "dead_lettered")
        .order_by(_D.changed_at, _D.id)
        .limit(count)
    )
    return _deliveries(connection, wanted, {})


def replay(connection: Connection, delivery_id: str, now: datetime) -> Delivery:
    """Try a dead letter again from its first attempt on, at once.

    NotFound; IllegalTransition where it is no dead letter; Refused (`endpoint_disabled`) where
    nothing is sent to its endpoint.
    """
    dead = find(connection, delivery_id)
    if dead is None:
        raise NotFound
    DELIVERY.next(dead.state, "replay")
    _require_enabled(webhook_endpoints.find(connection, dead.endpoint))
    waiting = rules.replay(dead, dead.id, now)
    _put_over(connection, dead, waiting)
    return waiting


def forget(connection: Connection, now: datetime) -> int:
    """End dead letters of 30 days, and forget what ended 30 days ago; how many rows it was.

    At most 1,000 of each, and the messages that nothing belongs to any more.
    """
    before = instant(now - KEPT)
    old = select(webhook_delivery).where(_D.changed_at < before).order_by(_D.changed_at)
    dead = old.where(_D.state == "dead_lettered").limit(_FORGOTTEN_MAX)
    expired = _deliveries(connection, dead, {})
    for one in expired:
        _put_over(connection, one, rules.expire(one, now))
    ended = select(_D.id).where(_D.changed_at < before, _D.state.in_(DELIVERY.terminal))
    deliveries = delete(webhook_delivery).where(_D.id.in_(ended.limit(_FORGOTTEN_MAX)))
    gone = connection.execute(deliveries).rowcount
    bare = select(_M.id).where(
        _M.made_at < before, ~select(_D.id).where(_D.message == _M.id).exists()
    )
    messages = delete(webhook_message).where(_M.id.in_(bare.limit(_FORGOTTEN_MAX)))
    return len(expired) + gone + connection.execute(messages).rowcount


def _told(connection: Connection, message: Message, body: bytes) -> bool:
    row = {
        "id": message.id,
        "tenant": message.tenant,
        "kind": message.kind,
        "body": body,
        "made_at": instant(message.made_at),
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(webhook_message), row)
    except IntegrityError:
        standing = connection.execute(_BODY, {"id": message.id}).scalar_one_or_none()
        if standing is None:
            raise
        if standing != body:
            raise _altered() from None
        return False
    return True


def _altered() -> Refused:
    return Refused(
        "the message is published already, with other content",
        code="webhook_altered",
        rule="webhook.one_body",
        fact="id",
    )


def _require_enabled(endpoint: Endpoint | None) -> None:
    if endpoint is None or not endpoint.enabled:
        raise Refused(
            "nothing is sent to the endpoint",
            code="endpoint_disabled",
            rule="webhook.endpoint",
            fact="disabled_at",
        )


def _new(message: Message, endpoint_id: str) -> Delivery:
    named = digest(["webhook delivery", message.id, endpoint_id])[:_ID_DIGITS]
    return Delivery(
        id=named,
        tenant=message.tenant,
        endpoint=endpoint_id,
        message=message.id,
        next_attempt_at=rules.next_attempt(named, 0, message.made_at),
        created_at=message.made_at,
        changed_at=message.made_at,
    )


def _deliveries(connection: Connection, wanted: Any, given: Mapping[str, Any]) -> list[Delivery]:
    return [parse(Delivery, dict(row)) for row in connection.execute(wanted, given).mappings()]


def _put(connection: Connection, delivery: Delivery) -> None:
    row: Any = plain(delivery)
    connection.execute(insert(webhook_delivery), row)


def _put_over(
    connection: Connection, before: Delivery, after: Delivery, **also: str | None
) -> None:
    row: Any = plain(after)
    where = (_D.id == before.id, _D.version == before.version)
    changed = update(webhook_delivery).where(*where).values({**row, **also})
    if connection.execute(changed).rowcount != 1:
        raise Refused(
            "the attempt was given up meanwhile, or another has it",
            code="lease_lost",
            rule="webhook.lease",
            fact="version",
        )
