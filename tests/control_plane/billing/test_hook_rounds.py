"""A worker's rounds over webhooks, on both engines: one effect each, whatever is repeated, late, forged or broken off."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control_plane.billing import webhook_endpoints
from control_plane.billing.delivery import WAITS
from control_plane.billing.hook_rounds import SCOPE, Round, Worked, deliver_due, work_off
from control_plane.billing.inbox import (
    LEASE_S,
    Arrival,
    InboundEvent,
    Inbox,
    replay,
)
from control_plane.billing.inbox import (
    receive as keep,
)
from control_plane.billing.outbox import Message, Outbox, of_message, publish
from control_plane.billing.sender import Reach, Sender
from control_plane.billing.webhook_endpoints import NewEndpoint
from control_plane.billing.webhooks import new_secret, sign, verify
from control_plane.errors import Refused, Unavailable
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from control_plane.store.webhook_tables import inbound_event
from tests.support.hooks import (
    LOOPBACK,
    Authority,
    Paid,
    Receiver,
    Reply,
    TestClock,
    arrival,
    effect_counts,
    event_rows,
    hook_store,
    in_turn,
    last_states,
    leads_to,
    new_authority,
    receivers,
)

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
LEASE = timedelta(seconds=LEASE_S)
PRIVATE, PUBLIC = new_keypair()
SECRETS = tuple(new_secret(bytes([number]) * 32) for number in range(2))
SECRET, FORGED = SECRETS

Receive = Callable[..., Receiver]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with hook_store(str(request.param), tmp_path, request) as opened:
        yield opened


@pytest.fixture
def clock() -> TestClock:
    return TestClock(NOW)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def receive(authority: Authority, tmp_path: Path) -> Iterator[Receive]:
    with receivers(authority, tmp_path) as start:
        yield start


# events that arrived ---------------------------------------------------------------------------


def test_what_is_completed_has_its_effect_and_no_body_any_more(
    store: Store, clock: TestClock
) -> None:
    keep(store, PUBLIC, arrival(), NOW)
    worked = work_off(store, Inbox(PRIVATE, "w1"), {"sandbox": Paid()}, clock.now)
    assert worked == Worked(completed=1)
    (row,) = event_rows(store).values()
    assert (row.state, row.outcome, row.sealed, row.due_at) == ("completed", "applied", None, None)
    assert row.settled_at == "2026-03-20T09:30:00.000000Z"
    assert not keep(store, PUBLIC, arrival(), clock.passes(days=30))
    assert work_off(store, Inbox(PRIVATE, "w1"), {"sandbox": Paid()}, clock.now) == Worked()
    assert effect_counts(store) == {"evt_1": 1}


def test_an_effect_that_fails_leaves_nothing_and_is_tried_again_later_each_time(
    store: Store, clock: TestClock
) -> None:
    keep(store, PUBLIC, arrival(), NOW)
    effect, inbox = Paid(), Inbox(PRIVATE, "w1")

    def fails(_: InboundEvent) -> None:
        raise Unavailable("no answer", code="provider_unavailable")

    effect.fault = fails
    for number in range(1, len(WAITS)):
        assert work_off(store, inbox, {"sandbox": effect}, clock.now) == Worked(failed=1)
        assert work_off(store, inbox, {"sandbox": effect}, clock.now) == Worked()
        (row,) = event_rows(store).values()
        assert (row.attempts, row.outcome) == (number, "provider_unavailable")
        waits = datetime.fromisoformat(row.due_at) - clock.at
        assert WAITS[number] <= waits <= WAITS[number] * 1.1
        clock.at = datetime.fromisoformat(row.due_at)
    assert work_off(store, inbox, {"sandbox": effect}, clock.now) == Worked(dead=1)
    (row,) = event_rows(store).values()
    assert (row.state, row.due_at, row.sealed is None) == ("dead", None, False)
    assert work_off(store, inbox, {"sandbox": effect}, lambda: NOW + 99 * LEASE) == Worked()
    assert effect_counts(store) == {}


def test_one_events_fault_holds_up_no_other(store: Store, clock: TestClock) -> None:
    for number in range(5):
        keep(store, PUBLIC, arrival(f"evt_{number}"), NOW)
    keep(store, PUBLIC, Arrival(provider="sandbox", id="odd", body=b"no json"), NOW)
    keep(store, PUBLIC, arrival().model_copy(update={"provider": "stranger"}), NOW)
    effect = Paid()

    def fails(event: InboundEvent) -> None:
        assert event.id != "evt_2"

    effect.fault = fails
    worked = work_off(store, Inbox(PRIVATE, "w1"), {"sandbox": effect}, clock.now)
    assert worked == Worked(completed=4, failed=3)
    reasons = Counter(row.outcome for row in event_rows(store).values() if row.state == "received")
    assert reasons == {"AssertionError": 1, "JSONDecodeError": 1, "effect_absent": 1}


def test_an_event_that_another_took_over_while_it_was_worked_on_is_lost_and_has_one_effect(
    store: Store, clock: TestClock
) -> None:
    keep(store, PUBLIC, arrival(), NOW)
    effect, inbox, other = Paid(), Inbox(PRIVATE, "w1"), Inbox(PRIVATE, "w2")

    class Slow(Paid):
        def scope(self, event: InboundEvent) -> str | None:
            # Between its lease and its transaction another worker comes and goes.
            clock.passes(seconds=LEASE_S)
            assert work_off(store, other, {"sandbox": effect}, clock.now) == Worked(completed=1)
            return super().scope(event)

    assert work_off(store, inbox, {"sandbox": Slow()}, clock.now) == Worked(lost=1)
    assert effect_counts(store) == {"evt_1": 1}


# messages that go out --------------------------------------------------------------------------


def sender(authority: Authority, to: Receiver) -> Sender:
    settings = Reach(ports=frozenset({to.port}), allow_loopback=True)
    return Sender(leads_to([LOOPBACK]), settings, authority.trusting)


def register(store: Store, to: Receiver) -> None:
    asked = NewEndpoint(id="we_1", tenant="acme", url=to.url(), kinds=("*",))
    with store.write("acme") as connection:
        ports = frozenset({to.port})
        webhook_endpoints.register(connection, PUBLIC, asked, SECRETS[0], NOW, ports)


def tell(store: Store, name: str) -> Message:
    made = Message(
        id=name, tenant="acme", kind="invoice.paid", data={"amount_minor": 1000}, made_at=NOW
    )
    with store.write("acme") as connection:
        assert publish(connection, made) == 1
    return made


def test_a_message_of_a_change_arrives_signed_after_a_fault_and_a_rotation(
    store: Store, clock: TestClock, receive: Receive, authority: Authority
) -> None:
    to = receive(in_turn([Reply(500), Reply(204), Reply(410)]))
    outbox, made = Outbox(PRIVATE), sender(authority, to)

    def round_() -> Round:
        return deliver_due(store, outbox, made, clock.now)

    register(store, to)
    body = tell(store, "msg_1").body
    assert (round_(), round_()) == (Round(waiting=1), Round())
    with store.write("acme") as connection:
        webhook_endpoints.rotate(connection, PUBLIC, "we_1", SECRETS[1], clock.now())
    clock.passes(minutes=1)
    assert (round_(), round_()) == (Round(delivered=1), Round())
    first, second = to.requests
    assert first.body == second.body == body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "msg_1"
    for secret in SECRETS:
        assert verify([secret], second.headers, second.body, clock.at).sent_at == clock.at
    tell(store, "msg_2")
    assert round_() == Round(dead=1)
    with store.read() as connection:
        (ended,) = of_message(connection, "msg_2")
        found = webhook_endpoints.find(connection, "we_1")
    assert (ended.state, ended.cause, ended.last_status) == ("dead_lettered", "gone", 410)
    assert found is not None
    assert found.disabled_cause == "gone"


def test_an_attempt_that_outlived_its_minute_is_lost_and_made_again(
    store: Store, clock: TestClock, receive: Receive, authority: Authority
) -> None:
    outbox = Outbox(PRIVATE)

    def slow(_: object) -> Reply:
        # Meanwhile another worker gives the attempt up.
        clock.passes(minutes=2)
        with store.write() as connection:
            outbox.lease(connection, clock.now())
        return Reply()

    to = receive(slow)
    register(store, to)
    tell(store, "msg_1")
    assert deliver_due(store, outbox, sender(authority, to), clock.now) == Round(lost=1)
    with store.read() as connection:
        (waiting,) = of_message(connection, "msg_1")
    assert (waiting.state, waiting.attempts) == ("pending", 1)


# long lives ------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here: nothing in it is seen to any more."""


class Life:
    """Random duplicates, reorderings, forgeries and crashes around some true events."""

    def __init__(self, store: Store, seed: int, count: int) -> None:
        self.store, self.random, self.clock = store, Random(seed), TestClock(NOW)
        self.true = [
            arrival(f"evt_{n}", subject=f"s{n % 7}", at=self.random.randrange(10**6) * 1000 + n)
            for n in range(count)
        ]
        self.told: list[Arrival] = []
        self.refusals: Counter[str] = Counter()
        self.steps = 0

    def send(self, one: Arrival, secret: SecretStr) -> None:
        """As a door does: verify, keep, and only then acknowledge."""
        at = self.clock.now() - timedelta(seconds=self.random.choice((0, 0, 0, 200, 400)))
        headers = sign([secret], one.id, at, one.body)
        try:
            verify([SECRET], headers, one.body, self.clock.now())
            kept = one.model_copy(update={"headers": headers})
            keep(self.store, PUBLIC, kept, self.clock.now())
        except Refused as refused:
            self.refusals[refused.code] += 1

    def step(self) -> None:
        self.steps += 1
        self.clock.passes(seconds=self.random.choice((0, 0, 1, 30, 61, 400)))
        draw = self.random.random()
        if draw < 0.35:
            one = self.random.choice(self.true)
            self.told.append(one)
            self.send(one, SECRET)
        elif draw < 0.45:
            self.send(self.random.choice(self.true), FORGED)
        elif draw < 0.55:
            one = self.random.choice(self.true)
            self.send(one.model_copy(update={"body": one.body[:-1] + b',"x":1}'}), SECRET)
        elif draw < 0.7:
            # The worker is killed between lease and effect: what it held is dropped.
            with self.store.write(SCOPE) as connection:
                Inbox(PRIVATE, "killed").lease(connection, self.clock.now(), 3)
        else:
            self.work(self.random.random() < 0.4)

    def work(self, breaks: bool) -> None:
        effect = Paid()

        def fault(_: InboundEvent) -> None:
            # In the middle of the transaction: an error, or the end of the process.
            draw = self.random.random()
            if breaks and draw < 0.3:
                raise Unavailable("no answer", code="provider_unavailable")
            if breaks and draw < 0.5:
                raise Killed

        effect.fault = fault
        inbox = Inbox(PRIVATE, f"w{self.steps}")
        with suppress(Killed):
            work_off(self.store, inbox, {"sandbox": effect}, self.clock.now, 5)

    def finish(self) -> None:
        """The sender repeats what it has no acknowledgement of, and the workers come to an end."""
        for one in self.true:
            while one.id not in event_rows(self.store):
                self.send(one, SECRET)
        for _ in range(2 * len(self.true)):
            with self.store.write(SCOPE) as connection:
                dead = select(inbound_event.c.id).where(inbound_event.c.state == "dead")
                for name in connection.execute(dead).scalars().all():
                    replay(connection, "sandbox", name, self.clock.now())
            self.clock.passes(days=3)
            self.work(breaks=False)


def lived(store: Store, seed: int, steps: int, count: int) -> None:
    life = Life(store, seed, count)
    for _ in range(steps):
        life.step()
        assert not effect_counts(store) or max(effect_counts(store).values()) == 1
    life.finish()
    latest: dict[str, tuple[int, str]] = {}
    assert {row.state for row in event_rows(store).values()} == {"completed"}
    # Every true event has one effect, and where a subject stands does not hang on the order.
    assert effect_counts(store) == {one.id: 1 for one in life.true}
    for one in life.true:
        said = json.loads(one.body)
        latest[said["subject"]] = max(latest.get(said["subject"], (0, "")), (said["at"], one.id))
    assert last_states(store) == {subject: name for subject, (_, name) in latest.items()}
    assert life.refusals["webhook_signature"] > 0
    assert life.refusals["webhook_altered"] > 0


def test_a_random_life_gives_each_event_one_effect_and_each_subject_one_state(store: Store) -> None:
    lived(store, 1, 120, 15)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_long_random_life_gives_each_event_one_effect(store: Store, seed: int) -> None:
    lived(store, seed, 1000, 60)
