"""Webhooks that arrive: kept once, leased, and done with in the transaction of their effect. Not a door, and no provider.

Whoever receives has verified the event before, and answers its sender once `receive` has returned:
then it is committed. That is no evidence to the worker: the headers of the signature are kept with the
body, so that an effect may verify both again. A sender repeats itself, out of order; an event has one effect, which the row's
state and the effect share a transaction for. Order is not kept, so an effect that sets a state holds
the event's own instant against the one it last took, or asks the provider what stands.

A body may hold personal data: it is sealed to the workspace's key from the first moment, forgotten in
the transaction that completes its event, and of a dead letter after 90 days. Id and digest stay for
400 days: by them a repeat is known.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from control_plane.billing.delivery import next_attempt
from control_plane.billing.webhooks import MessageId
from control_plane.domain.canonical import canonical, instant
from control_plane.domain.instant import Instant
from control_plane.domain.machine import Machine, Transient, Transition
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.ports import Store
from control_plane.secrets.box import open_box, seal
from control_plane.store.webhook_tables import inbound_event

HEADERS_MAX: Final = 8
HEADER_CHARS_MAX: Final = 4_096

InboundState: TypeAlias = Literal["received", "processing", "completed", "dead"]
Provider: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Headers: TypeAlias = Annotated[
    Mapping[
        Annotated[str, Field(max_length=HEADER_CHARS_MAX)],
        Annotated[str, Field(max_length=HEADER_CHARS_MAX)],
    ],
    Field(max_length=HEADERS_MAX),
]

BODY_BYTES_MAX: Final = 1_048_576
LEASE_S: Final = 60
BATCH: Final = 20
BATCH_MAX: Final = 1_000
BODY_KEPT: Final = timedelta(days=90)  # of a dead letter
ROW_KEPT: Final = timedelta(days=400)

INBOUND = Machine(
    name="inbound",
    initial="received",
    states=get_args(InboundState),
    stable=frozenset({"received", "dead"}),
    transient={"processing": Transient(LEASE_S, ("complete",), lapse="lose", cancel="fail")},
    terminal=frozenset({"completed"}),
    transitions=(
        Transition("received", "lease", "processing", guard="due"),
        Transition("processing", "complete", "completed", guard="effect_in_same_transaction"),
        Transition("processing", "fail", "received", guard="attempts_left"),
        Transition("processing", "lose", "received", guard="attempts_left"),
        Transition("processing", "exhaust", "dead", guard="no_attempts_left"),
        Transition("dead", "replay", "received", guard="asked_for, body_kept"),
    ),
)

# An error must not tell what was in a body.
_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
_OUTCOME_CHARS_MAX: Final = 120
_FORGOTTEN_MAX: Final = 1_000  # rows in one transaction
_C: Final = inbound_event.c
_KEY: Final = and_(_C.provider == bindparam("of"), _C.id == bindparam("named"))
# Made once: to build a statement costs more than to run it.
_STANDING: Final = select(_C.digest).where(_KEY)
_DUE: Final = (
    select(inbound_event)
    .where(_C.due_at <= bindparam("now"))
    .order_by(_C.due_at, _C.received_at, _C.provider, _C.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE: Final = select(_C.id).where(_C.due_at <= bindparam("now")).limit(1)
_ONE: Final = select(inbound_event).where(_KEY)
_ONE_LOCKED: Final = _ONE.with_for_update()


class Arrival(BaseModel):
    """An event that was verified: its id by its provider, its body as the raw bytes.

    `headers` are those of the signature, and no others.
    """

    model_config = _STRICT

    provider: Provider
    id: MessageId
    body: Annotated[bytes, Field(max_length=BODY_BYTES_MAX, repr=False)]
    headers: Headers = Field(default={}, repr=False)


class InboundEvent(BaseModel):
    """An event as its effect sees it. `attempt` counts from 1.

    `received_at` is the instant at which the signature was in time.
    """

    model_config = _STRICT

    provider: Provider
    id: MessageId
    body: Annotated[bytes, Field(repr=False)]
    headers: Headers = Field(repr=False)
    received_at: Instant
    attempt: int


class Lease(NamedTuple):
    """One holder's right to work on an event. Who took it over has another number of attempts."""

    provider: str
    id: str
    holder: str
    attempts: int
    received_at: str


class DeadEvent(NamedTuple):
    """An event whose effect failed for good: why, since when, and whether it can be replayed."""

    id: str
    reason: str | None
    since: str
    kept: bool


def receive(store: Store, workspace_public: bytes, arrival: Arrival, now: datetime) -> bool:
    """Keep a verified event; False when it was there already. Once this returns, it is committed.

    Needs the workspace's public key alone. Refused (`webhook_altered`) for another body under an id
    that is known: the first stands. Raises Unavailable; the sender then asks again.
    """
    digest = _digest(arrival)
    with store.append() as connection:
        try:
            with connection.begin_nested():
                connection.execute(
                    insert(inbound_event), _row(workspace_public, arrival, digest, now)
                )
        except IntegrityError:
            standing = connection.execute(
                _STANDING, {"of": arrival.provider, "named": arrival.id}
            ).scalar_one_or_none()
            if standing is None:
                raise
            if standing != digest:
                raise Refused(
                    "the event is known already, with another body",
                    code="webhook_altered",
                    rule="webhook.one_body",
                    fact="id",
                ) from None
            return False
    return True


def waiting(connection: Connection, now: datetime) -> bool:
    """Whether any event is due: a look that writes nothing."""
    return connection.execute(_ANY_DUE, {"now": instant(now)}).first() is not None


class Inbox:
    """What a worker does with events that were kept. `holder` names the worker; it opens bodies."""

    def __init__(self, workspace_private: bytes, holder: str) -> None:
        self._private = workspace_private
        self._holder = holder

    def lease(self, connection: Connection, now: datetime, count: int = BATCH) -> list[Lease]:
        """At most `count` events that are due, the oldest first, for a minute each.

        Those whose lease has ended are among them. One that was lost too often becomes a dead
        letter and is not. BadInput for a count below 1 or above 1,000.
        """
        if not 1 <= count <= BATCH_MAX:
            raise BadInput("count", f"must lie between 1 and {BATCH_MAX}")
        rows = connection.execute(_DUE, {"now": instant(now), "count": count}).all()
        return [one for row in rows if (one := self._take(connection, row, now)) is not None]

    def opened(self, connection: Connection, lease: Lease) -> InboundEvent:
        """The event of a lease. Refused (`lease_lost`); BoxError when its body does not open."""
        return self._event(_held(connection, lease, _ONE))

    def complete(
        self,
        connection: Connection,
        lease: Lease,
        effect: Callable[[Connection, InboundEvent], str],
        now: datetime,
    ) -> str:
        """Bring about the effect and say so, both in the transaction that is given.

        Refused (`lease_lost`) where another has the event, or is through with it: nothing is done.
        Whatever the effect raises passes through, and the caller's transaction must go with it.
        """
        event = self._event(_held(connection, lease))
        outcome = effect(connection, event)
        state = INBOUND.next("processing", "complete")
        _set(connection, lease, state=state, outcome=outcome, settled_at=instant(now), sealed=None)
        return outcome

    def fail(
        self, connection: Connection, lease: Lease, reason: str, now: datetime
    ) -> InboundState:
        """Give the event back for a later attempt, or among the dead letters after the last.

        The waits are those of deliveries: ten attempts in about three days. Refused (`lease_lost`).
        """
        _held(connection, lease)
        return _give_back(connection, lease, "fail", reason, now)

    def _take(self, connection: Connection, row: Row[Any], now: datetime) -> Lease | None:
        lease = Lease(row.provider, row.id, self._holder, row.attempts, row.received_at)
        if row.state == "processing":
            # Its holder fell silent. That attempt counts, or an event that kills would kill for ever.
            if next_attempt(_seed(lease), lease.attempts, now) is None:
                _give_back(connection, lease, "lose", "lost", now)
                return None
            INBOUND.next(row.state, "lose")
        taken = lease._replace(attempts=row.attempts + 1)
        _set(
            connection,
            taken,
            state=INBOUND.next("received", "lease"),
            attempts=taken.attempts,
            due_at=instant(now + timedelta(seconds=LEASE_S)),
            leased_by=self._holder,
        )
        return taken

    def _event(self, row: Row[Any]) -> InboundEvent:
        opened = open_box(self._private, row.sealed, _context(row.provider, row.id))
        kept: dict[str, Any] = json.loads(opened)
        return InboundEvent(
            provider=row.provider,
            id=row.id,
            body=base64.b64decode(kept["body"]),
            headers=kept["headers"],
            received_at=datetime.fromisoformat(row.received_at),
            attempt=row.attempts,
        )


def dead(connection: Connection, provider: str, count: int = BATCH_MAX) -> list[DeadEvent]:
    """The dead letters of a provider, the oldest first, at most `count`."""
    wanted = (
        select(_C.id, _C.outcome, _C.settled_at, _C.sealed.is_not(None))
        .where(_C.provider == provider, _C.state == "dead")
        .order_by(_C.settled_at, _C.id)
        .limit(count)
    )
    return [DeadEvent(*row) for row in connection.execute(wanted)]


def replay(connection: Connection, provider: str, id: str, now: datetime) -> None:
    """Try a dead letter again from its first attempt on, at once.

    NotFound; IllegalTransition where it is no dead letter, `webhook_forgotten` where its body is gone.
    """
    row = connection.execute(_ONE_LOCKED, {"of": provider, "named": id}).first()
    if row is None:
        raise NotFound
    state = INBOUND.next(row.state, "replay")
    if row.sealed is None:
        raise Refused(
            "the event's body is no longer kept",
            code="webhook_forgotten",
            rule="webhook.retention",
            fact="sealed",
        )
    lease = Lease(provider, id, "", 0, row.received_at)
    _set(connection, lease, state=state, attempts=0, due_at=instant(now), outcome=None)


def forget(connection: Connection, now: datetime) -> int:
    """Forget what was kept for long enough, at most 1,000 rows of each kind; how many it was."""
    bodies = and_(_C.sealed.is_not(None), _C.settled_at < instant(now - BODY_KEPT))
    emptied = connection.execute(
        update(inbound_event).where(_oldest(bodies)).values(sealed=None)
    ).rowcount
    rows = _oldest(_C.settled_at < instant(now - ROW_KEPT))
    return emptied + connection.execute(delete(inbound_event).where(rows)).rowcount


def _oldest(condition: Any) -> Any:
    keys = select(_C.provider, _C.id).where(condition).order_by(_C.settled_at)
    return tuple_(_C.provider, _C.id).in_(keys.limit(_FORGOTTEN_MAX))


def _held(connection: Connection, lease: Lease, one: Select[Any] = _ONE_LOCKED) -> Row[Any]:
    row = connection.execute(one, {"of": lease.provider, "named": lease.id}).first()
    if (
        row is None
        or row.state != "processing"
        or (row.leased_by, row.attempts) != (lease.holder, lease.attempts)
    ):
        raise Refused(
            "another has the event by now, or is through with it",
            code="lease_lost",
            rule="webhook.lease",
            fact="leased_by",
        )
    return row


def _give_back(
    connection: Connection, lease: Lease, event: str, reason: str, now: datetime
) -> InboundState:
    at = next_attempt(_seed(lease), lease.attempts, now)
    if at is None:
        state = INBOUND.next("processing", "exhaust")
        _set(connection, lease, state=state, outcome=reason, settled_at=instant(now))
        return "dead"
    state = INBOUND.next("processing", event)
    _set(connection, lease, state=state, due_at=instant(at), outcome=reason)
    return "received"


def _set(connection: Connection, lease: Lease, **values: Any) -> None:
    outcome = values.pop("outcome", None)
    changed: dict[str, Any] = {
        "due_at": None,
        "leased_by": None,
        "settled_at": None,
        "outcome": None if outcome is None else outcome[:_OUTCOME_CHARS_MAX],
        **values,
    }
    where = and_(_C.provider == lease.provider, _C.id == lease.id)
    connection.execute(update(inbound_event).where(where).values(**changed))


def _row(public: bytes, arrival: Arrival, digest: str, now: datetime) -> dict[str, Any]:
    at = instant(now)
    body = base64.b64encode(arrival.body).decode("ascii")
    kept = canonical({"body": body, "headers": arrival.headers})
    return {
        "provider": arrival.provider,
        "id": arrival.id,
        "digest": digest,
        "sealed": seal(public, kept, _context(arrival.provider, arrival.id)),
        "received_at": at,
        "state": INBOUND.initial,
        "attempts": 0,
        "due_at": at,
    }


def _digest(arrival: Arrival) -> str:
    # With the id, which nobody guesses: the digest of a short body alone would tell it.
    return sha256(_context(arrival.provider, arrival.id) + arrival.body).hexdigest()


def _context(provider: str, id: str) -> bytes:
    return canonical(["inbound event", provider, id])


def _seed(lease: Lease) -> str:
    return f"{lease.provider} {lease.id}"
