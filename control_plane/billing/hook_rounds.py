"""A worker's rounds over webhooks: those that arrived, and those that go out. Not a clock that calls them.

Each round leases a batch, and ends each of its parts in a transaction of its own, so that the fault of
one is no other's. A worker that is killed in between leaves leases, which end by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Connection

from control_plane.billing import inbox as inboxes
from control_plane.billing import outbox as outboxes
from control_plane.billing.delivery import Answer
from control_plane.billing.inbox import InboundEvent, Inbox, Lease
from control_plane.billing.outbox import Outbox, Parcel, settle
from control_plane.billing.sender import Sender, Sent
from control_plane.domain.delivery import Delivery
from control_plane.errors import NotFound, PaybillError, Refused
from control_plane.ports import Store

SCOPE: Final = "$webhooks"
"""What a transaction over webhooks alone is about: no tenant's writers wait for it."""


class Effect(Protocol):
    """What an event of a provider brings about."""

    def scope(self, event: InboundEvent) -> str | None:
        """The tenant that it is about, as `Store.write` takes it; None is the whole store."""
        ...

    def apply(self, connection: Connection, event: InboundEvent) -> str:
        """Do it in the transaction that is given; says in a word what it came to.

        Whatever it raises takes all of it back, and the event is tried again later.
        """
        ...


class Settle(Protocol):
    """Writes down what came of an attempt, as `outbox.settle` does."""

    def __call__(
        self,
        connection: Connection,
        begun: Delivery,
        answer: Answer,
        now: datetime,
        fault: str | None,
        /,
    ) -> Delivery:
        """The delivery after it."""
        ...


class Worked(NamedTuple):
    """How many events of a batch were completed, are tried again, are dead, or went to another."""

    completed: int = 0
    failed: int = 0
    dead: int = 0
    lost: int = 0


class Round(NamedTuple):
    """How many attempts of a batch were delivered, are made again, are dead letters, or were given up."""

    delivered: int = 0
    waiting: int = 0
    dead: int = 0
    lost: int = 0


def work_off(
    store: Store,
    inbox: Inbox,
    effects: Mapping[str, Effect],
    clock: Callable[[], datetime],
    count: int = inboxes.BATCH,
) -> Worked:
    """Lease a batch and bring about what its events mean, each in a transaction of its own.

    `effects` stand under their providers; an event without one is tried again as one that failed.
    An event's fault stays its own; Unavailable passes through where the store does not answer.
    """
    with store.write(SCOPE) as connection:
        leases = inbox.lease(connection, clock(), count)
    ends = [_work(store, inbox, effects, lease, clock) for lease in leases]
    return Worked(*(ends.count(end) for end in ("completed", "received", "dead", "lost")))


def deliver_due(
    store: Store,
    outbox: Outbox,
    sender: Sender,
    clock: Callable[[], datetime],
    count: int = outboxes.BATCH,
    settled: Settle = settle,
) -> Round:
    """Lease a batch, make its attempts outside of any transaction, and settle each on its own.

    More than 16 at once may not all be settled within their minute. Raises Unavailable.
    """
    with store.write(SCOPE) as connection:
        parcels = outbox.lease(connection, clock(), count)
    sent = sender.send_all(parcels, clock)
    ends = [
        _settled(store, parcel, one, clock(), settled)
        for parcel, one in zip(parcels, sent, strict=True)
    ]
    return Round(*(ends.count(end) for end in ("delivered", "pending", "dead_lettered", "lost")))


def _work(
    store: Store,
    inbox: Inbox,
    effects: Mapping[str, Effect],
    lease: Lease,
    clock: Callable[[], datetime],
) -> str:
    try:
        with store.read() as connection:
            event = inbox.opened(connection, lease)
        effect = effects.get(lease.provider)
        if effect is None:
            raise NotFound("No effect of this provider's events is known.", code="effect_absent")
        with store.write(effect.scope(event)) as connection:
            inbox.complete(connection, lease, effect.apply, clock())
    except Exception as error:  # noqa: BLE001 - one event's fault must not hold up the others
        reason = error.code if isinstance(error, PaybillError) else type(error).__name__
    else:
        return "completed"
    try:
        with store.write(SCOPE) as connection:
            return inbox.fail(connection, lease, reason, clock())
    except Refused:
        return "lost"


def _settled(store: Store, parcel: Parcel, sent: Sent, now: datetime, settled: Settle) -> str:
    try:
        with store.write(SCOPE) as connection:
            return settled(connection, parcel.delivery, sent.answer, now, sent.fault).state
    except Refused:
        return "lost"
