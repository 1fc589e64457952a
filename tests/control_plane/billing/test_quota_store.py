"""Quotas as they are kept, on both engines: reservations, and the grace above a soft limit. Not what a limit is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, func, select

from control_plane.billing.calendar import MONTHLY
from control_plane.billing.metering import Meter, Schedule
from control_plane.billing.quota_store import Quotas
from control_plane.billing.usage_events import UsageEvent
from control_plane.billing.usage_store import record
from control_plane.domain.entitlement import MeteredEntitlement
from control_plane.errors import Refused
from control_plane.ports import Store
from control_plane.store.usage_tables import reservation, soft_limit_passed
from tests.support.ledgers import opened_store

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULE = Schedule(anchor=START, cycle=MONTHLY, zone="UTC")
METERS = {"gb": Meter(name="gb", aggregation="sum")}
GRACE = timedelta(hours=48)
GB = MeteredEntitlement(
    kind="metered", feature="gb", soft_limit=Decimal(8), hard_limit=Decimal(10), grace_hours=48
)
ONE = Decimal(1)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened_store(str(request.param), tmp_path, request) as opened:
        yield opened


def quotas(connection: Connection, now: datetime) -> Quotas:
    return Quotas(connection, "acme", SCHEDULE.period_at(now), now)


def use(store: Store, quantity: str, now: datetime) -> None:
    """Record so much, as a call does: the grace is kept with it."""
    used = UsageEvent(
        source="gateway",
        id=now.isoformat(),
        tenant="acme",
        meter="gb",
        occurred_at=now,
        received_at=now,
        quantity=Decimal(quantity),
    )
    with store.write("acme") as connection:
        assert record(connection, "acme", [used], METERS, SCHEDULE)[0].status == "accepted"
        quotas(connection, now).observe([GB], now)


def reserve(store: Store, resource: str, quantity: str, now: datetime = START) -> str:
    with store.write("acme") as connection:
        return quotas(connection, now).reserve(GB, resource, Decimal(quantity), now).status


def release(store: Store, resource: str, now: datetime = START) -> bool:
    with store.write("acme") as connection:
        return quotas(connection, now).release(GB, resource, now)


def status(store: Store, asked: str, now: datetime) -> tuple[str, str]:
    with store.read() as connection:
        found = quotas(connection, now).standing(GB).check(Decimal(asked), now)
    return found.status, found.code


def test_what_is_used_and_reserved_is_held_together(store: Store) -> None:
    use(store, "2.5", START)
    assert reserve(store, "db-1", "1.5") == "allowed"
    with store.read() as connection:
        standing = quotas(connection, START).standing(GB)
    assert (standing.used, standing.reserved, standing.held) == (
        Decimal("2.5"),
        Decimal("1.5"),
        Decimal(4),
    )
    assert standing.check(ONE, START).remaining == Decimal(6)


def test_a_reservation_is_refused_beyond_the_hard_limit_and_leaves_nothing(store: Store) -> None:
    assert reserve(store, "db-1", "9") == "warned"
    assert reserve(store, "db-2", "2") == "denied"
    with store.read() as connection:
        assert quotas(connection, START).reserved("gb") == Decimal(9)


def test_a_reservation_asked_for_again_is_the_same_one(store: Store) -> None:
    assert reserve(store, "db-1", "3") == "allowed"
    assert reserve(store, "db-1", "3.0") == "allowed"
    with store.read() as connection:
        assert quotas(connection, START).reserved("gb") == Decimal(3)
    with pytest.raises(Refused) as told:
        reserve(store, "db-1", "4")
    assert told.value.code == "reservation_differs"


def test_what_is_released_is_free_again_and_once(store: Store) -> None:
    reserve(store, "db-1", "3")
    assert release(store, "db-1")
    assert not release(store, "db-1")
    with store.read() as connection:
        assert quotas(connection, START).reserved("gb") == 0
        assert connection.execute(select(func.count()).select_from(reservation)).scalar() == 0


def test_reservations_outlive_the_period_and_usage_does_not(store: Store) -> None:
    use(store, "5", START)
    reserve(store, "db-1", "4")
    assert status(store, "2", START) == ("denied", "hard_limit_reached")
    february = START + timedelta(days=31)
    with store.read() as connection:
        standing = quotas(connection, february).standing(GB)
    assert (standing.used, standing.reserved) == (Decimal(0), Decimal(4))


def test_a_grace_begins_when_the_soft_limit_is_passed_and_ends(store: Store) -> None:
    use(store, "9", START)
    assert status(store, "1", START + GRACE - timedelta(seconds=1)) == (
        "warned",
        "soft_limit_passed",
    )
    assert status(store, "1", START + GRACE) == ("denied", "grace_over")
    assert status(store, "0", START + GRACE)[0] == "warned"


def test_a_grace_is_not_begun_anew_by_more_usage(store: Store) -> None:
    use(store, "8.5", START)
    use(store, "0.5", START + GRACE / 2)
    assert status(store, "1", START + GRACE) == ("denied", "grace_over")


def test_a_grace_is_forgotten_where_a_release_leads_below_the_limit(store: Store) -> None:
    reserve(store, "db-1", "4")
    reserve(store, "db-2", "5")
    assert release(store, "db-2", START + GRACE)
    assert reserve(store, "db-3", "5", START + GRACE) == "warned"
    assert status(store, "1", START + GRACE + timedelta(hours=1)) == ("warned", "soft_limit_passed")


def test_a_grace_of_used_up_usage_ends_with_its_period(store: Store) -> None:
    use(store, "9", START + timedelta(days=30))
    february = START + timedelta(days=31, hours=1)
    assert status(store, "1", february) == ("allowed", "")
    use(store, "9", february + GRACE)
    assert status(store, "1", february + GRACE + timedelta(hours=1))[0] == "warned"
    assert status(store, "1", february + GRACE * 2) == ("denied", "grace_over")


def test_a_grace_of_reservations_goes_on_into_the_next_period(store: Store) -> None:
    end = START + timedelta(days=31)
    reserve(store, "db-1", "9", end - timedelta(hours=24))
    use(store, "0.5", end + timedelta(hours=1))
    assert status(store, "0.5", end + timedelta(hours=23)) == ("warned", "soft_limit_passed")
    assert status(store, "0.5", end + timedelta(hours=24)) == ("denied", "grace_over")


def test_only_what_has_passed_a_limit_has_a_row(store: Store) -> None:
    def rows() -> int | None:
        with store.read() as connection:
            return connection.execute(select(func.count()).select_from(soft_limit_passed)).scalar()

    use(store, "8", START)
    assert rows() == 0
    reserve(store, "db-1", "1")
    assert rows() == 1
    release(store, "db-1")
    assert rows() == 0


def test_to_read_quotas_takes_as_many_statements_whatever_is_reserved(store: Store) -> None:
    told: list[int] = []
    for number in range(2):
        counted: list[object] = []

        def statement(*said: object, counted: list[object] = counted) -> None:
            counted.append(said)

        event.listen(Engine, "before_cursor_execute", statement)
        try:
            with store.read() as connection:
                quotas(connection, START).standing(GB)
        finally:
            event.remove(Engine, "before_cursor_execute", statement)
        told.append(len(counted))
        reserve(store, f"db-{number}", "1")
    assert told[0] == told[1]
