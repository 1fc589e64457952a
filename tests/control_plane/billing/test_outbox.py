"""Webhooks that go out, on both engines: told with their change, each settled once. Not the sending."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from control_plane.billing import webhook_endpoints
from control_plane.billing.delivery import WAITS, Answer
from control_plane.billing.hook_rounds import SCOPE
from control_plane.billing.outbox import (
    BODY_BYTES_MAX,
    KEPT,
    PER_ENDPOINT,
    Message,
    Outbox,
    Parcel,
    dead_letters,
    find,
    forget,
    of_message,
    publish,
    replay,
    settle,
)
from control_plane.billing.webhook_endpoints import NewEndpoint
from control_plane.billing.webhooks import new_secret
from control_plane.domain.delivery import SEND_DEADLINE_S, Delivery
from control_plane.domain.machine import IllegalTransition
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from control_plane.store.webhook_tables import webhook_delivery, webhook_message
from tests.support.hooks import TestClock, hook_store

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
TICK = timedelta(microseconds=1)
DEADLINE = timedelta(seconds=SEND_DEADLINE_S)
PRIVATE, PUBLIC = new_keypair()
OUTBOX = Outbox(PRIVATE)
OK, ERROR, GONE, LARGE = (Answer(status=status) for status in (204, 500, 410, 413))


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with hook_store(str(request.param), tmp_path, request) as opened:
        yield opened


@pytest.fixture
def clock() -> TestClock:
    return TestClock(NOW)


def message(name: str = "msg_1", tenant: str = "acme", **given: Any) -> Message:
    made = {"id": name, "tenant": tenant, "kind": "invoice.paid", "made_at": NOW}
    return Message.model_validate({**made, "data": {"amount_minor": 1000}, **given})


def endpoint(store: Store, name: str = "we_1", tenant: str = "acme", *kinds: str) -> None:
    asked = NewEndpoint(
        id=name,
        tenant=tenant,
        url=f"https://{name.replace('_', '-')}.example.com/",
        kinds=kinds or ("*",),
    )
    with store.write() as connection:
        webhook_endpoints.register(
            connection, PUBLIC, asked, new_secret(name.encode().ljust(32, b".")), NOW
        )


def published(store: Store, *messages: Message) -> list[int]:
    with store.write() as connection:
        return [publish(connection, one) for one in messages]


def leased(store: Store, now: datetime, count: int = 16) -> list[Parcel]:
    with store.write(SCOPE) as connection:
        return OUTBOX.lease(connection, now, count)


def settled(
    store: Store, begun: Delivery, answer: Answer, now: datetime, fault: str | None = None
) -> Delivery:
    with store.write(SCOPE) as connection:
        return settle(connection, begun, answer, now, fault)


def standing(store: Store, name: str = "msg_1") -> list[Delivery]:
    with store.read() as connection:
        return of_message(connection, name)


def test_a_message_goes_to_each_endpoint_that_asked_for_its_kind(store: Store) -> None:
    endpoint(store, "we_1")
    endpoint(store, "we_2", "acme", "invoice.*")
    endpoint(store, "we_3", "acme", "seat.*")
    endpoint(store, "we_4", "globex")
    endpoint(store, "we_5", "")
    assert published(store, message()) == [3]
    deliveries = standing(store)
    assert {one.endpoint for one in deliveries} == {"we_1", "we_2", "we_5"}
    assert {(one.state, one.tenant, one.next_attempt_at) for one in deliveries} == {
        ("pending", "acme", NOW)
    }
    parcels = leased(store, NOW)
    assert {one.url for one in parcels} == {
        f"https://we-{number}.example.com/" for number in (1, 2, 5)
    }
    assert json.loads(parcels[0].body) == {
        "type": "invoice.paid",
        "timestamp": "2026-03-20T09:30:00.000000Z",
        "tenant": "acme",
        "data": {"amount_minor": 1000},
    }
    assert {one.body for one in parcels} == {message().body}
    by_endpoint = {one.delivery.endpoint: one.secrets for one in parcels}
    assert by_endpoint["we_1"] == (new_secret(b"we_1".ljust(32, b".")),)
    assert by_endpoint["we_1"][0].get_secret_value() not in repr(parcels)


def test_a_message_stands_and_falls_with_its_change(store: Store) -> None:
    endpoint(store)

    def change() -> None:
        with store.write("acme") as connection:
            publish(connection, message())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert standing(store) == []
    assert leased(store, NOW) == []


def test_a_message_that_is_published_again_goes_out_once(store: Store) -> None:
    endpoint(store)
    assert published(store, message(), message()) == [1, 0]
    assert published(store, message()) == [0]
    assert len(standing(store)) == 1
    with pytest.raises(Refused) as told:
        published(store, message(data={"amount_minor": 1}))
    assert told.value.code == "webhook_altered"
    assert [one.body for one in leased(store, NOW)] == [message().body]


def test_a_message_that_nobody_asked_for_is_not_kept(store: Store) -> None:
    endpoint(store, "we_1", "acme", "seat.*")
    assert published(store, message()) == [0]
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(webhook_message)).scalar() == 0


def test_a_message_has_bounds(store: Store) -> None:
    endpoint(store)
    with pytest.raises(BadInput) as told:
        published(store, message(data={"note": "x" * BODY_BYTES_MAX}))
    assert told.value.field == "data"
    for given in ({"id": "a.b"}, {"kind": "Invoice"}, {"tenant": ""}):
        with pytest.raises(ValidationError):
            message(**given)


def test_a_delivery_that_is_leased_is_nobody_elses_until_its_minute_is_over(store: Store) -> None:
    endpoint(store)
    published(store, message())
    assert leased(store, NOW - TICK) == []
    (parcel,) = leased(store, NOW)
    begun = parcel.delivery
    assert (begun.state, begun.attempts, begun.deadline_at) == ("sending", 1, NOW + DEADLINE)
    assert leased(store, NOW + DEADLINE - TICK) == []
    # Its sender fell silent: the attempt counts, and it is made again after its wait.
    assert leased(store, NOW + DEADLINE) == []
    (lost,) = standing(store)
    assert (lost.state, lost.attempts) == ("pending", 1)
    with pytest.raises(Refused) as told:
        settled(store, begun, OK, NOW + DEADLINE)
    assert told.value.code == "lease_lost"
    (again,) = leased(store, NOW + DEADLINE + timedelta(minutes=1))
    assert again.delivery.attempts == 2
    assert settled(store, again.delivery, OK, NOW + 2 * DEADLINE).state == "delivered"
    with pytest.raises(Refused):
        settled(store, again.delivery, ERROR, NOW + 2 * DEADLINE)
    assert [one.state for one in standing(store)] == ["delivered"]


def test_a_delivery_is_tried_ten_times_and_is_then_a_dead_letter(
    store: Store, clock: TestClock
) -> None:
    endpoint(store)
    published(store, message())
    for number in range(1, len(WAITS)):
        (parcel,) = leased(store, clock.at)
        waits = settled(store, parcel.delivery, ERROR, clock.at)
        assert (waits.attempts, waits.last_status) == (number, 500)
        assert waits.next_attempt_at is not None
        assert leased(store, waits.next_attempt_at - TICK) == []
        clock.at = waits.next_attempt_at
    (parcel,) = leased(store, clock.at)
    ended = settled(store, parcel.delivery, ERROR, clock.at)
    assert (ended.state, ended.cause) == ("dead_lettered", "exhausted")
    assert timedelta(days=3) < clock.at - NOW < timedelta(days=4)
    assert leased(store, clock.passes(days=9)) == []
    with store.write(SCOPE) as connection:
        assert dead_letters(connection, "we_1") == [ended]
        again = replay(connection, ended.id, clock.at)
        assert (again.attempts, again.replays) == (0, 1)
        with pytest.raises(IllegalTransition):
            replay(connection, ended.id, clock.at)
        with pytest.raises(NotFound):
            replay(connection, "nobody", clock.at)
    (parcel,) = leased(store, clock.at)
    assert settled(store, parcel.delivery, OK, clock.at).state == "delivered"


def test_a_fault_is_kept_with_the_attempt_until_the_next_answer(
    store: Store, clock: TestClock
) -> None:
    def fault() -> str | None:
        with store.read() as connection:
            found: str | None = connection.execute(
                select(webhook_delivery.c.last_fault)
            ).scalar_one()
            return found

    endpoint(store)
    published(store, message())
    (parcel,) = leased(store, NOW)
    settled(store, parcel.delivery, Answer(), NOW, "timeout")
    assert fault() == "timeout"
    (parcel,) = leased(store, clock.passes(minutes=1))
    assert fault() == "timeout"
    assert leased(store, clock.passes(minutes=1)) == []
    assert fault() == "lost"
    (parcel,) = leased(store, clock.passes(hours=1))
    settled(store, parcel.delivery, OK, clock.at)
    assert fault() is None


def test_who_answers_410_is_sent_nothing_more_until_it_is_enabled(
    store: Store, clock: TestClock
) -> None:
    endpoint(store)
    endpoint(store, "we_2")
    published(store, message(), message("msg_2"))
    parcels = {(one.delivery.endpoint, one.delivery.message): one for one in leased(store, NOW)}
    settled(store, parcels["we_1", "msg_2"].delivery, ERROR, NOW)
    ended = settled(store, parcels["we_1", "msg_1"].delivery, GONE, NOW)
    assert (ended.state, ended.cause) == ("dead_lettered", "gone")
    with store.read() as connection:
        found = webhook_endpoints.find(connection, "we_1")
    assert found is not None
    assert (found.enabled, found.disabled_cause) == (False, "gone")
    # What waits becomes a dead letter when it is due, and a new message does not go there.
    assert published(store, message("msg_3")) == [1]
    assert {one.delivery.endpoint for one in leased(store, clock.passes(minutes=10))} == {"we_2"}
    with store.write(SCOPE) as connection:
        causes = {one.message: one.cause for one in dead_letters(connection, "we_1")}
        assert causes == {"msg_1": "gone", "msg_2": "endpoint_disabled"}
        with pytest.raises(Refused) as told:
            replay(connection, ended.id, clock.at)
        assert told.value.code == "endpoint_disabled"
        webhook_endpoints.enable(connection, "we_1")
        assert replay(connection, ended.id, clock.at).state == "pending"


def test_what_waits_for_an_endpoint_that_was_removed_is_canceled(
    store: Store, clock: TestClock
) -> None:
    endpoint(store)
    published(store, message(), message("msg_2"))
    first, second = leased(store, NOW)
    settled(store, first.delivery, ERROR, NOW)
    with store.write() as connection:
        webhook_endpoints.remove(connection, "we_1", NOW)
    # A request on its way is answered first.
    assert settled(store, second.delivery, OK, NOW).state == "delivered"
    assert leased(store, clock.passes(minutes=1)) == []
    with store.read() as connection:
        ended = find(connection, first.delivery.id)
    assert ended is not None
    assert ended.state == "canceled"


def test_a_receiver_that_never_takes_such_bytes_is_not_asked_again(store: Store) -> None:
    endpoint(store)
    published(store, message())
    (parcel,) = leased(store, NOW)
    ended = settled(store, parcel.delivery, LARGE, NOW)
    assert (ended.state, ended.cause) == ("dead_lettered", "rejected")


def test_one_endpoint_takes_no_more_than_its_share_of_a_batch(store: Store) -> None:
    endpoint(store, "we_1")
    endpoint(store, "we_2", "globex")
    slow = [message(f"msg_{n}", made_at=NOW - timedelta(hours=1)) for n in range(30)]
    published(store, *slow, message("other", "globex"))
    counts = Counter(one.delivery.endpoint for one in leased(store, NOW))
    assert counts == {"we_1": PER_ENDPOINT, "we_2": 1}
    assert len(leased(store, NOW, 2)) == 2
    for count in (0, 1001):
        with pytest.raises(BadInput):
            leased(store, NOW, count)


def test_what_ended_is_forgotten_after_a_month_with_its_message(
    store: Store, clock: TestClock
) -> None:
    endpoint(store, "we_1")
    endpoint(store, "we_2")
    published(store, message())
    answers = {"we_1": OK, "we_2": LARGE}
    for parcel in leased(store, NOW):
        settled(store, parcel.delivery, answers[parcel.delivery.endpoint], NOW)

    def forgotten(at: datetime) -> int:
        with store.write(SCOPE) as connection:
            return forget(connection, at)

    assert forgotten(NOW + KEPT) == 0
    # The one is forgotten, the dead letter ends, and its message is kept for as long.
    assert forgotten(NOW + KEPT + TICK) == 2
    assert [one.state for one in standing(store)] == ["expired"]
    assert forgotten(NOW + 2 * KEPT) == 0
    assert forgotten(NOW + 2 * KEPT + 2 * TICK) == 2
    assert standing(store) == []
    assert forgotten(NOW + 9 * KEPT) == 0


# long lives ------------------------------------------------------------------------------------


class Life:
    """Senders that are killed, answer late or twice, over messages that are published again."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.random, self.clock = store, Random(seed), TestClock(NOW)
        self.names = [f"we_{number}" for number in range(3)]
        for name in self.names:
            endpoint(store, name)
        self.held = list[Parcel]()
        self.arrived = Counter[tuple[str, str]]()
        self.told = set[str]()
        self.refusals = Counter[str]()

    def step(self, messages: int) -> None:
        self.clock.passes(seconds=self.random.choice((0, 1, 30, 61, 4000)))
        draw = self.random.random()
        if draw < 0.25:
            self.tell(f"msg_{self.random.randrange(messages)}")
        elif draw < 0.6:
            self.held += leased(self.store, self.clock.at, self.random.choice((1, 5)))
        elif self.held:
            self.send(self.held.pop(self.random.randrange(len(self.held))))

    def tell(self, name: str) -> None:
        count = published(self.store, message(name, data={"n": name}))[0]
        assert count == (0 if name in self.told else len(self.names))
        self.told.add(name)

    def send(self, parcel: Parcel) -> None:
        answer = self.random.choice((OK, OK, ERROR, Answer()))
        if answer is OK:
            self.arrived[parcel.delivery.endpoint, parcel.delivery.message] += 1
        if self.random.random() < 0.2:
            return  # killed after it was sent
        try:
            settled(self.store, parcel.delivery, answer, self.clock.at)
        except Refused as refused:
            self.refusals[refused.code] += 1

    def finish(self) -> None:
        """Every receiver answers at last, and dead letters are replayed."""
        for _ in range(50 * len(self.told)):
            self.clock.passes(days=2)
            parcels = leased(self.store, self.clock.at, 100)
            for parcel in parcels:
                self.arrived[parcel.delivery.endpoint, parcel.delivery.message] += 1
                settled(self.store, parcel.delivery, OK, self.clock.at)
            if not parcels and not self.replayed():
                return
        pytest.fail("it does not come to an end")

    def replayed(self) -> int:
        with self.store.write(SCOPE) as connection:
            dead = [one for name in self.names for one in dead_letters(connection, name)]
            for one in dead:
                replay(connection, one.id, self.clock.at)
        return len(dead)


def lived(store: Store, seed: int, steps: int) -> None:
    life = Life(store, seed)
    for _ in range(steps):
        life.step(steps // 4)
    life.finish()
    ends = [one for name in life.told for one in standing(store, name)]
    assert Counter((one.endpoint, one.message) for one in ends) == Counter(
        (name, told) for name in life.names for told in life.told
    )
    assert {one.state for one in ends} == {"delivered"}
    assert set(life.arrived) == {(one.endpoint, one.message) for one in ends}
    # Late answers were among them, and only they were refused.
    assert set(life.refusals) == {"lease_lost"}


@pytest.mark.long_but_one
def test_a_random_life_brings_each_message_to_each_endpoint(store: Store) -> None:
    lived(store, 1, 120)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(2, 22))
def test_a_long_random_life_brings_each_message_to_each_endpoint(store: Store, seed: int) -> None:
    lived(store, seed, 500)
