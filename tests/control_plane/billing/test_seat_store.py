"""Seats as they are kept, on both engines: never more rows than seats, whoever writes at once. Not the rules of a pool."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from control_plane.billing import seat_store, seats
from control_plane.billing.seat_store import Held, Sizes, sizes
from control_plane.billing.seats import SeatPool
from control_plane.domain.canonical import instant
from control_plane.domain.plans import PlanCatalog, parse_plans
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Terms
from control_plane.errors import BadInput, Refused
from control_plane.ports import Store
from control_plane.store.postgres import PostgresStore
from control_plane.store.seat_tables import seat as table
from control_plane.store.sqlite import SqliteStore
from tests.support.ledgers import opened_store
from tests.support.migrated import migrated_postgres, migrated_sqlite
from tests.support.postgres import Postgres

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY = "alice"
PEOPLE = [f"user-{number:02}" for number in range(12)]
PLANS = """
plans:
  - name: free
    version: 1
    rank: 0
    tier: free
    title: Free
    isolations: [pooled]
    regions: [local]
    quotas: {records_max: 10, seats_max: 3}
  - name: team
    version: 1
    rank: 10
    tier: standard
    title: Team
    isolations: [pooled]
    regions: [local]
    quotas: {records_max: 10, seats_max: 50}
    charges:
      - component: seats
        interval: month
        prices:
          - {model: per_seat, currency: EUR, unit_amount_minor: 900}
"""


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened_store(str(request.param), tmp_path, request) as opened:
        yield opened


def assign(store: Store, holder: str, size: int = 3, now: datetime = NOW) -> bool:
    with store.write("acme") as connection:
        return seat_store.assign(connection, "acme", holder, size=size, now=now, by=BY)


def reserve(store: Store, holder: str, until: datetime, size: int = 3, now: datetime = NOW) -> bool:
    with store.write("acme") as connection:
        return seat_store.reserve(connection, "acme", holder, until, size=size, now=now, by=BY)


def release(store: Store, holder: str, now: datetime = NOW) -> bool:
    with store.write("acme") as connection:
        return seat_store.release(connection, "acme", holder, now=now)


def rows(store: Store) -> list[tuple[str, str, str, str | None, str]]:
    with store.read() as connection:
        found = connection.execute(select(table).order_by(table.c.tenant, table.c.holder))
        return [(one[0], one[1], one[2], one[3], one[4]) for one in found]


def held(store: Store, now: datetime = NOW) -> Held:
    with store.read() as connection:
        return seat_store.held(connection, "acme", now)


# one after the other ---------------------------------------------------------------------------


def test_a_seat_is_one_row_that_says_whose_since_when_and_by_whom(store: Store) -> None:
    assert assign(store, "ada")
    assert not assign(store, "ada", now=NOW + HOUR)
    assert rows(store) == [("acme", "ada", instant(NOW), None, BY)]
    assert release(store, "ada")
    assert not release(store, "ada")
    assert rows(store) == []


def test_the_last_seat_is_given_and_the_next_holder_is_refused(store: Store) -> None:
    assert [assign(store, one) for one in ("ada", "bob", "cyd")] == [True] * 3
    before = rows(store)
    with pytest.raises(Refused) as told:
        assign(store, "dan")
    assert (told.value.code, told.value.rule) == ("seats_full", "seats.never_over")
    assert not assign(store, "ada")
    assert rows(store) == before
    release(store, "bob")
    assert assign(store, "dan")


def test_another_tenants_seats_are_not_counted(store: Store) -> None:
    with store.write("globex") as connection:
        for holder in PEOPLE[:5]:
            seat_store.assign(connection, "globex", holder, size=5, now=NOW, by=BY)
    assert held(store) == (0, 0)
    assert assign(store, PEOPLE[0], size=1)
    assert not release(store, PEOPLE[1])
    assert len(rows(store)) == 6


def test_a_reservation_takes_a_seat_becomes_one_and_ends_by_itself(store: Store) -> None:
    assert reserve(store, "ada", NOW + HOUR, size=2)
    assert reserve(store, "bob", NOW + HOUR, size=2)
    assert held(store) == Held(assigned=0, reserved=2)
    with pytest.raises(Refused):
        assign(store, "cyd", size=2)
    assert not assign(store, "ada", size=2)
    assert held(store) == (1, 1)
    assert held(store, NOW + HOUR) == (1, 0)
    # Whoever writes next takes the row away that is over: so the rows are never more either.
    assert assign(store, "cyd", size=2, now=NOW + HOUR)
    assert [one[1] for one in rows(store)] == ["ada", "cyd"]
    assert [one[3] for one in rows(store)] == [None, None]


def test_a_reservation_is_prolonged_and_never_ends_an_assignment(store: Store) -> None:
    reserve(store, "ada", NOW + HOUR)
    assert not reserve(store, "ada", NOW + 2 * HOUR)
    assert held(store, NOW + HOUR) == (0, 1)
    assign(store, "ada")
    assert not reserve(store, "ada", NOW + HOUR)
    assert held(store, NOW + 9 * HOUR) == (1, 0)
    with pytest.raises(BadInput):
        reserve(store, "bob", NOW)


def test_who_takes_a_seat_again_after_their_own_was_over_has_a_new_one(store: Store) -> None:
    reserve(store, "ada", NOW + HOUR)
    assert assign(store, "ada", now=NOW + 2 * HOUR)
    assert rows(store) == [("acme", "ada", instant(NOW + 2 * HOUR), None, BY)]


def test_a_page_is_in_the_order_of_holders_whatever_the_engine(store: Store) -> None:
    names = ["b", "B", "ä", "a-b", "ab", "a.b", "Z", "10", "9", "z", "\N{GRINNING FACE}", "\uffee"]
    for name in names:
        assign(store, name, size=len(names))
    reserve(store, "gone", NOW + HOUR, size=99)
    later = NOW + HOUR
    with store.read() as connection:
        for size in (1, 5, 12, 100):
            seen: list[str] = []
            while found := seat_store.page(
                connection, "acme", later, after=seen[-1] if seen else "", size=size
            ):
                seen += [one.holder for one in found]
            assert seen == sorted(names, key=str.encode)


def test_a_pool_that_became_too_small_has_room_for_none_until_enough_are_released(
    store: Store,
) -> None:
    for holder in PEOPLE[:5]:
        assign(store, holder, size=5)
    with pytest.raises(Refused) as told:
        assign(store, "new", size=3)
    assert told.value.code == "seats_full"
    assert not assign(store, PEOPLE[0], size=3)
    for holder in PEOPLE[:2]:
        assert release(store, holder)
        with pytest.raises(Refused):
            assign(store, "new", size=3)
    assert release(store, PEOPLE[2])
    assert assign(store, "new", size=3)


def test_what_does_not_fit_a_smaller_pool_is_told_refused_and_let_go(store: Store) -> None:
    for hour, holder in enumerate(PEOPLE[:4]):
        assign(store, holder, size=9, now=NOW + hour * HOUR)
    now = NOW + 10 * HOUR
    with store.read() as connection:
        going = seat_store.leaving(connection, "acme", 2, now)
        seat_store.require_fit(connection, "acme", 4, now)
        with pytest.raises(Refused) as told:
            seat_store.require_fit(connection, "acme", 3, now)
    assert told.value.code == "seats_in_use"
    assert [one.holder for one in going] == [PEOPLE[3], PEOPLE[2]]
    with store.write("acme") as connection:
        assert seat_store.let_go(connection, "acme", 2, now) == going
    assert [one[1] for one in rows(store)] == PEOPLE[:2]


def test_what_goes_with_a_transaction_that_fails_is_not_kept(store: Store) -> None:
    def change() -> None:
        with store.write("acme") as connection:
            seat_store.assign(connection, "acme", "ada", size=1, now=NOW, by=BY)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert rows(store) == []


# how many there are ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plans() -> PlanCatalog:
    return parse_plans(PLANS, "plans.yaml")


def subscribed(plan: str, version: int = 1, agreed: int | None = None) -> Subscription:
    terms = None if agreed is None else Terms(currency="EUR", anchor_at=NOW, seats=agreed)
    return Subscription(
        id="s1", tenant="acme", plan=plan, plan_version=version, state="active", terms=terms
    )


@pytest.mark.parametrize(
    ("subscription", "expected"),
    [
        (None, Sizes(0, 0)),
        (subscribed("free"), Sizes(3, 3)),
        (subscribed("free", agreed=0), Sizes(3, 3)),
        (subscribed("free", agreed=2), Sizes(2, 3)),
        (subscribed("team", agreed=7), Sizes(7, 50)),
        (subscribed("team", agreed=0), Sizes(0, 50)),
        (subscribed("team", agreed=51), Sizes(50, 50)),
        (subscribed("team", version=9, agreed=7), Sizes(0, 0)),
    ],
)
def test_a_pool_is_as_large_as_what_is_paid_for_within_the_quota(
    plans: PlanCatalog, subscription: Subscription | None, expected: Sizes
) -> None:
    assert sizes(subscription, plans) == expected


# at once ---------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def two_stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two processes' ways to one store: each with connections of its own."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            migrated_sqlite(tmp_path / "store.db")
            opened: list[Store] = [
                stack.enter_context(
                    closing(SqliteStore(tmp_path / "store.db", busy_timeout_ms=20_000))
                )
                for _ in range(2)
            ]
        else:
            server: Postgres = request.getfixturevalue("postgres")
            url = stack.enter_context(migrated_postgres(server))
            opened = [
                stack.enter_context(
                    closing(PostgresStore(url, schema="public", lock_ms_max=20_000))
                )
                for _ in range(2)
            ]
        yield opened[0], opened[1]


def test_of_two_writers_at_once_the_second_sees_the_firsts_seat(
    two_stores: tuple[Store, Store],
) -> None:
    one, other = two_stores
    began, ended = threading.Event(), threading.Event()
    refusals: list[str] = []

    def second() -> None:
        began.set()
        try:
            assign(other, "bob", size=1)
        except Refused as error:
            refusals.append(error.code)
        ended.set()

    thread = threading.Thread(target=second)
    with one.write("acme") as connection:
        assert seat_store.assign(connection, "acme", "ada", size=1, now=NOW, by=BY)
        thread.start()
        assert began.wait(20)
        # It waits for the lock before it reads anything: it cannot end while this one is open.
        assert not ended.wait(0.3)
    thread.join(20)
    assert refusals == ["seats_full"]
    assert [row[1] for row in rows(one)] == ["ada"]


def test_many_writers_at_once_fill_the_pool_to_the_last_seat_and_no_further(
    two_stores: tuple[Store, Store],
) -> None:
    size, start = 7, threading.Barrier(6)
    outcomes: list[bool | str] = []

    def take(number: int) -> None:
        start.wait(20)
        for turn in range(4):
            try:
                outcomes.append(assign(two_stores[number % 2], f"u-{number}-{turn}", size=size))
            except Refused as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes.count(True) == size
    assert outcomes.count("seats_full") == 24 - size
    assert len(rows(two_stores[0])) == size


# in any order ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """Something that is asked of a pool; `wanted` is the size that a change of it names."""

    what: str
    who: str
    now: datetime
    until: datetime
    wanted: int

    def kept(self, connection: Connection, size: int) -> None:
        """Do it to what is kept."""
        given: Any = {"size": size, "now": self.now, "by": BY}
        match self.what:
            case "assign":
                seat_store.assign(connection, "acme", self.who, **given)
            case "reserve":
                seat_store.reserve(connection, "acme", self.who, self.until, **given)
            case "release":
                seat_store.release(connection, "acme", self.who, now=self.now)
            case "resize":
                seat_store.resize(connection, "acme", self.wanted, self.now)
            case _:
                seat_store.let_go(connection, "acme", self.wanted, self.now)

    def ruled(self, pool: SeatPool) -> SeatPool:
        """Do it to the pool that it is held against."""
        match self.what:
            case "assign":
                return seats.assign(pool, self.who, self.now)
            case "reserve":
                return seats.reserve(pool, self.who, self.now, holder_ends_at=self.until)
            case "release":
                return seats.release(pool, self.who, self.now)
            case "resize":
                return seats.resize(pool, self.wanted, self.now)
            case _:
                for one in seats.must_go(pool, self.wanted, self.now):
                    pool = seats.release(pool, one.holder, self.now)
                return seats.resize(pool, self.wanted, self.now)


def events(random: Random, count: int) -> Iterator[Event]:
    """Random ones, each later than the one before."""
    now = NOW
    for _ in range(count):
        now += timedelta(minutes=random.randrange(40))
        yield Event(
            what=random.choice(["assign", "assign", "reserve", "release", "resize", "let_go"]),
            who=random.choice(PEOPLE),
            now=now,
            until=now + timedelta(minutes=random.randrange(1, 300)),
            wanted=random.randrange(2, 9),
        )


def refusal(change: Callable[[], None]) -> str | None:
    """The code with which a change is refused."""
    try:
        change()
    except Refused as error:
        return error.code
    return None


def live(store: Store, random: Random, count: int) -> None:
    """A random life of one pool: after every event the rows are the pool's, and none too many."""
    pools = [SeatPool(tenant="acme", size=5)]
    refused = Counter[str | None]()
    for event in events(random, count):
        with store.write("acme") as connection:
            size = pools[-1].size
            told = refusal(lambda: event.kept(connection, size))  # noqa: B023 - called at once
            assert told == refusal(lambda: pools.append(event.ruled(pools[-1])))  # noqa: B023
            refused[told] += 1
            expected = seats.settled(pools[-1], event.now)
            rows_kept = select(func.count()).select_from(table)
            assert connection.execute(rows_kept).scalar_one() <= expected.size
            assert seat_store.load(connection, "acme", expected.size, event.now) == expected
            assert seat_store.held(connection, "acme", event.now).all == len(expected.seats)
            seat = seat_store.seat_of(connection, "acme", event.who, event.now)
            assert seat == expected.seat_of(event.who, event.now)
        del pools[:-1]
    assert set(refused) == {None, "seats_full", "seats_in_use"}


def test_a_random_life_keeps_exactly_the_pools_seats(store: Store) -> None:
    live(store, Random(5), 120)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(2))
def test_ten_thousand_random_events_are_never_over(store: Store, seed: int) -> None:
    live(store, Random(seed), 10_000)


def test_rows_that_another_hand_has_put_there_are_loaded_and_not_added_to(store: Store) -> None:
    made = [
        {
            "tenant": "acme",
            "holder": name,
            "assigned_at": instant(NOW),
            "reserved_until": None,
            "assigned_by": BY,
        }
        for name in PEOPLE
    ]
    with store.write("acme") as connection:
        connection.execute(insert(table), made)
    with pytest.raises(Refused):
        assign(store, "new", size=3)
    assert held(store) == (len(PEOPLE), 0)
