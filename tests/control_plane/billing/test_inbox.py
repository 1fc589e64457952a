"""Webhooks that arrive, on both engines: one effect each, whatever is repeated, late, forged or broken off."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import (
    Connection,
)

from control_plane.billing.delivery import WAITS
from control_plane.billing.hook_rounds import SCOPE, Worked, work_off
from control_plane.billing.inbox import (
    BODY_BYTES_MAX,
    BODY_KEPT,
    INBOUND,
    LEASE_S,
    ROW_KEPT,
    Arrival,
    Inbox,
    Lease,
    forget,
    receive,
    replay,
)
from control_plane.billing.webhooks import new_secret, sign, verify
from control_plane.domain.machine import IllegalTransition
from control_plane.errors import BadInput, NotFound, Refused, Unavailable
from control_plane.ports import Store
from control_plane.secrets.box import BoxError, new_keypair
from control_plane.store.logins import Names, make
from control_plane.store.migrate import upgrade_postgres
from control_plane.store.postgres import PostgresStore
from control_plane.store.roles import entitle
from tests.support.hooks import Paid, TestClock, arrival, effect_counts, event_rows, hook_store
from tests.support.postgres import Postgres, raze

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
LEASE = timedelta(seconds=LEASE_S)
TICK = timedelta(microseconds=1)
PRIVATE, PUBLIC = new_keypair()
SECRET = new_secret(bytes(range(32)))
FORGED = new_secret(bytes(range(1, 33)))
DEADLINE_S = 60


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with hook_store(engine, tmp_path, request) as opened:
        yield opened


@pytest.fixture
def clock() -> TestClock:
    return TestClock(NOW)


def take(store: Store, inbox: Inbox, now: datetime, count: int = 20) -> list[Lease]:
    with store.write(SCOPE) as connection:
        return inbox.lease(connection, now, count)


# receiving -------------------------------------------------------------------------------------


def test_an_event_is_kept_once_and_its_body_is_read_by_the_workspaces_key_alone(
    store: Store,
) -> None:
    told = arrival("evt_1", person="Ann Person")
    assert receive(store, PUBLIC, told, NOW)
    assert not receive(store, PUBLIC, told, NOW + timedelta(hours=1))
    (row,) = event_rows(store).values()
    assert (row.state, row.attempts, row.settled_at) == ("received", 0, None)
    assert row.received_at == "2026-03-20T09:30:00.000000Z"
    assert b"Ann" not in row.sealed
    (lease,) = take(store, Inbox(PRIVATE, "w1"), NOW)
    with store.read() as connection:
        event = Inbox(PRIVATE, "w1").opened(connection, lease)
        assert (event.body, event.headers) == (told.body, told.headers)
        assert (event.received_at, event.attempt) == (NOW, 1)
        with pytest.raises(BoxError):
            Inbox(new_keypair()[0], "w1").opened(connection, lease)
    assert "Ann" not in repr(event) + repr(told)


def test_what_was_kept_verifies_again_for_whoever_brings_about_its_effect(store: Store) -> None:
    told, secret = arrival(), new_secret(bytes(32))
    headers = sign([secret], told.id, NOW - timedelta(seconds=299), told.body)
    receive(store, PUBLIC, told.model_copy(update={"headers": headers}), NOW)
    inbox, later = Inbox(PRIVATE, "w1"), NOW + timedelta(days=2)
    (lease,) = take(store, inbox, later)
    with store.read() as connection:
        event = inbox.opened(connection, lease)
    assert verify([secret], event.headers, event.body, event.received_at).id == told.id
    with pytest.raises(Refused):
        verify([new_secret(bytes(31) + b"x")], event.headers, event.body, event.received_at)


def test_another_body_under_a_known_id_is_told_and_kept_out(store: Store) -> None:
    receive(store, PUBLIC, arrival(at=1), NOW)
    before = event_rows(store)
    for _ in range(2):
        with pytest.raises(Refused) as told:
            receive(store, PUBLIC, arrival(at=2), NOW)
        assert told.value.code == "webhook_altered"
    assert event_rows(store) == before
    # The same id of another provider is another event.
    assert receive(store, PUBLIC, arrival(at=2).model_copy(update={"provider": "other"}), NOW)


@pytest.mark.parametrize(
    "given",
    [
        {"provider": "Sand box"},
        {"id": "a.b"},
        {"id": ""},
        {"body": b"x" * (BODY_BYTES_MAX + 1)},
        {"headers": {str(n): "" for n in range(9)}},
        {"headers": {"x": "y" * 4097}},
    ],
)
def test_an_arrival_has_bounds(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as told:
        Arrival.model_validate({**dict(arrival()), **given})
    assert "input_value" not in str(told.value)


def test_many_that_receive_the_same_event_at_once_keep_it_once(store: Store) -> None:
    """Half of them with another body: whoever comes first, the others see it."""
    told = [arrival(at=1), arrival(at=2)] * 4
    begun, said = threading.Barrier(len(told), timeout=DEADLINE_S), list[object]()

    def tell(one: Arrival) -> None:
        begun.wait()
        try:
            said.append(receive(store, PUBLIC, one, NOW))
        except Refused as refused:
            said.append(refused.code)

    threads = [threading.Thread(target=tell, args=(one,)) for one in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert Counter(said) == {True: 1, False: 3, "webhook_altered": 4}
    assert len(event_rows(store)) == 1


@pytest.mark.parametrize("engine", ["sqlite"])
def test_nothing_is_acknowledged_that_was_not_committed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Connection) -> None:
        raise Unavailable("no room", code="store_full")

    with monkeypatch.context() as broken:
        broken.setattr(Connection, "_commit_impl", fails)
        with pytest.raises(Unavailable):
            receive(store, PUBLIC, arrival(), NOW)
    assert event_rows(store) == {}
    assert receive(store, PUBLIC, arrival(), NOW)


def test_a_face_keeps_events_by_its_own_login_and_does_nothing_else_with_them(
    postgres: Postgres,
) -> None:
    names = Names(uuid4().hex)
    urls = make(postgres.owner, names, "test")
    try:
        upgrade_postgres(urls["worker"], entitle=partial(entitle, names=names))
        with (
            closing(PostgresStore(urls["face"])) as face,
            closing(PostgresStore(urls["worker"])) as worker,
        ):
            assert receive(face, PUBLIC, arrival(at=1), NOW)
            assert not receive(face, PUBLIC, arrival(at=1), NOW)
            with pytest.raises(Refused) as told:
                receive(face, PUBLIC, arrival(at=2), NOW)
            assert told.value.code == "webhook_altered"
            with pytest.raises(Unavailable):
                take(face, Inbox(PRIVATE, "face"), NOW)
            (lease,) = take(worker, Inbox(PRIVATE, "w1"), NOW)
            assert lease.id == "evt_1"
    finally:
        raze(postgres, names.workspace_id)


# leasing ---------------------------------------------------------------------------------------


def test_leases_are_of_the_oldest_first_and_no_more_than_asked(store: Store) -> None:
    for number in (3, 1, 2, 0):
        # By their names they would be in another order.
        receive(store, PUBLIC, arrival(f"evt_{9 - number}"), NOW + timedelta(seconds=number))
    one, other = Inbox(PRIVATE, "w1"), Inbox(PRIVATE, "w2")
    later = NOW + timedelta(seconds=9)
    assert [lease.id for lease in take(store, one, NOW)] == ["evt_9"]
    assert [lease.id for lease in take(store, other, later, 2)] == ["evt_8", "evt_7"]
    assert [lease.id for lease in take(store, one, later)] == ["evt_6"]
    assert take(store, other, later) == []


@pytest.mark.parametrize("count", [0, -1, 1001])
@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_batch_has_bounds(store: Store, count: int) -> None:
    with pytest.raises(BadInput) as told:
        take(store, Inbox(PRIVATE, "w1"), NOW, count)
    assert told.value.field == "count"


def test_a_lease_that_ended_is_taken_over_and_its_first_holder_can_do_nothing_more(
    store: Store,
) -> None:
    receive(store, PUBLIC, arrival(), NOW)
    one, other = Inbox(PRIVATE, "w1"), Inbox(PRIVATE, "w1")
    (first,) = take(store, one, NOW)
    assert take(store, other, NOW + LEASE - TICK) == []
    (second,) = take(store, other, NOW + LEASE)
    assert (first.attempts, second.attempts) == (1, 2)
    effect = Paid()

    def late(connection: Connection) -> None:
        one.complete(connection, first, effect.apply, NOW + LEASE)

    def fails(connection: Connection) -> None:
        one.fail(connection, first, "late", NOW)

    for attempt in (late, fails):
        with pytest.raises(Refused) as told, store.write("acme") as connection:
            attempt(connection)
        assert told.value.code == "lease_lost"
    with store.write("acme") as connection:
        other.complete(connection, second, effect.apply, NOW + LEASE)
    with pytest.raises(Refused), store.write("acme") as connection:
        late(connection)
    assert effect_counts(store) == {"evt_1": 1}


def test_a_lease_that_ended_and_that_nobody_took_over_is_still_its_holders(store: Store) -> None:
    receive(store, PUBLIC, arrival(), NOW)
    inbox = Inbox(PRIVATE, "w1")
    (lease,) = take(store, inbox, NOW)
    with store.write("acme") as connection:
        inbox.complete(connection, lease, Paid().apply, NOW + 5 * LEASE)
    assert effect_counts(store) == {"evt_1": 1}


def test_workers_that_lease_at_once_never_have_the_same_event(store: Store) -> None:
    for number in range(40):
        receive(store, PUBLIC, arrival(f"evt_{number}"), NOW)
    begun, taken = threading.Barrier(4, timeout=DEADLINE_S), list[str]()

    def work(holder: str) -> None:
        begun.wait()
        for _ in range(5):
            with store.append() as connection:
                taken.extend(one.id for one in Inbox(PRIVATE, holder).lease(connection, NOW, 4))

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert max(Counter(taken).values()) == 1
    with store.write() as connection:
        left = Inbox(PRIVATE, "w9").lease(connection, NOW, 100)
    assert len(taken) + len(left) == 40


# ends ------------------------------------------------------------------------------------------


def test_a_dead_letter_that_is_replayed_has_its_effect_once(store: Store, clock: TestClock) -> None:
    receive(store, PUBLIC, arrival(), NOW)
    inbox, effect = Inbox(PRIVATE, "w1"), Paid()
    for _ in WAITS:
        work_off(store, inbox, {}, clock.now)
        clock.passes(days=2)
    (row,) = event_rows(store).values()
    assert (row.state, row.outcome) == ("dead", "effect_absent")
    # Told again, it stays dead: it is known.
    assert not receive(store, PUBLIC, arrival(), clock.now())
    with store.write(SCOPE) as connection:
        replay(connection, "sandbox", "evt_1", clock.now())
    assert work_off(store, inbox, {"sandbox": effect}, clock.now) == Worked(completed=1)
    with pytest.raises(IllegalTransition), store.write(SCOPE) as connection:
        replay(connection, "sandbox", "evt_1", clock.now())
    with pytest.raises(NotFound), store.write(SCOPE) as connection:
        replay(connection, "sandbox", "evt_2", clock.now())
    assert effect_counts(store) == {"evt_1": 1}


def test_an_event_whose_workers_are_killed_each_time_becomes_a_dead_letter(store: Store) -> None:
    receive(store, PUBLIC, arrival(), NOW)
    now = NOW
    for number in range(1, len(WAITS) + 1):
        (lease,) = take(store, Inbox(PRIVATE, f"w{number}"), now)
        assert lease.attempts == number
        now += LEASE
    assert take(store, Inbox(PRIVATE, "w99"), now) == []
    (row,) = event_rows(store).values()
    assert (row.state, row.outcome, row.attempts) == ("dead", "lost", len(WAITS))


def test_bodies_of_dead_letters_and_rows_are_forgotten_in_time(
    store: Store, clock: TestClock
) -> None:
    receive(store, PUBLIC, arrival("evt_1"), NOW)
    receive(store, PUBLIC, arrival("evt_2"), NOW)
    inbox, effect = Inbox(PRIVATE, "w1"), Paid()
    effect.fault = lambda event: (_ for _ in ()).throw(ValueError) if event.id == "evt_2" else None
    for _ in WAITS:
        work_off(store, inbox, {"sandbox": effect}, clock.now)
        clock.passes(days=2)
    settled = datetime.fromisoformat(event_rows(store)["evt_2"].settled_at)

    def forgotten(at: datetime) -> int:
        with store.write(SCOPE) as connection:
            return forget(connection, at)

    assert forgotten(settled + BODY_KEPT) == 0
    assert forgotten(settled + BODY_KEPT + TICK) == 1
    with pytest.raises(Refused) as told, store.write(SCOPE) as connection:
        replay(connection, "sandbox", "evt_2", clock.now())
    assert told.value.code == "webhook_forgotten"
    assert not receive(store, PUBLIC, arrival("evt_2"), clock.now())
    assert forgotten(settled + ROW_KEPT + TICK) == 2
    assert event_rows(store) == {}


def test_the_machine_of_an_event_lets_none_get_stuck() -> None:
    assert {state: INBOUND.legal(state) for state in INBOUND.states} == {
        "received": ("lease",),
        "processing": ("complete", "exhaust", "fail", "lose"),
        "completed": (),
        "dead": ("replay",),
    }
