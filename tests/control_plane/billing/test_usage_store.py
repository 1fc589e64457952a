"""Usage as it is kept, on both engines: each event once, totals whatever the order. Not what a period costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine, event, func, select, update

from control_plane.billing.calendar import MONTHLY
from control_plane.billing.metering import (
    BATCH_MAX,
    Aggregation,
    Meter,
    Schedule,
    Verdict,
    judge,
    merge_windows,
    tallies,
)
from control_plane.billing.usage_events import UsageEvent
from control_plane.billing.usage_store import record, totals, used
from control_plane.errors import BadInput, Unavailable
from control_plane.ports import Store
from control_plane.store.usage_tables import usage_event, usage_tally
from tests.support.ledgers import opened_store

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=40)
ALWAYS = (START - timedelta(days=365), START + timedelta(days=365))
SCHEDULE = Schedule(anchor=START, cycle=MONTHLY, zone="Europe/Berlin")
METERS = {
    name: Meter(name=name, aggregation=aggregation, late_hours=24 * 30, late="next_period")
    for name, aggregation in dict[str, Aggregation](
        calls="sum", logins="count", peak="max", disk="last", users="unique"
    ).items()
}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened_store(str(request.param), tmp_path, request) as opened:
        yield opened


def used_of(meter: str, identity: str, quantity: str = "1", **more: object) -> UsageEvent:
    given: dict[str, object] = {
        "source": "gateway",
        "id": identity,
        "tenant": "acme",
        "meter": meter,
        "quantity": quantity,
        "occurred_at": START + timedelta(days=3),
        "received_at": START + timedelta(days=3, minutes=1),
        "key": f"user-{quantity}",
    }
    return UsageEvent.model_validate(given | more)


def recorded(store: Store, *events: UsageEvent) -> tuple[Verdict, ...]:
    with store.write("acme") as connection:
        return record(connection, "acme", events, METERS, SCHEDULE)


def statuses(store: Store, *events: UsageEvent) -> list[str]:
    return [one.status for one in recorded(store, *events)]


def used_in_january(store: Store) -> dict[str, Decimal]:
    with store.read() as connection:
        return used(connection, "acme", SCHEDULE.period_at(START).start)


def random_events(random: Random, count: int) -> list[UsageEvent]:
    return [
        used_of(
            random.choice(sorted(METERS)),
            f"e{number}",
            f"{random.randint(0, 10**6)}.{random.randint(1, 10**9 - 1):09d}".rstrip("0"),
            source=random.choice(("gateway", "batch")),
            occurred_at=NOW - timedelta(seconds=random.randrange(60 * 86_400) - 300),
            received_at=NOW,
            key=f"user-{random.randrange(20)}",
        )
        for number in range(count)
    ]


def test_an_event_counts_once_in_its_period(store: Store) -> None:
    assert statuses(store, used_of("calls", "a", "1.5"), used_of("calls", "b")) == ["accepted"] * 2
    assert used_in_january(store) == {"calls": Decimal("2.5")}
    assert statuses(store, used_of("calls", "a", "1.5")) == ["duplicate"]
    assert used_in_january(store) == {"calls": Decimal("2.5")}


def test_the_same_identity_twice_in_a_batch_counts_once(store: Store) -> None:
    one = used_of("calls", "a", "2")
    assert statuses(store, one, one, used_of("calls", "a", "3")) == [
        "accepted",
        "duplicate",
        "conflict",
    ]
    assert used_in_january(store) == {"calls": Decimal(2)}


def test_a_conflict_with_what_stands_changes_nothing(store: Store) -> None:
    recorded(store, used_of("calls", "a", "2"))
    told = recorded(store, used_of("calls", "a", "3"), used_of("calls", "a", "2"))
    assert [one.status for one in told] == ["conflict", "duplicate"]
    assert told[0].code == "usage_conflict"
    assert used_in_january(store) == {"calls": Decimal(2)}


def test_what_is_not_accepted_is_not_kept_and_may_be_sent_again(store: Store) -> None:
    ahead = used_of("calls", "a", occurred_at=START + timedelta(days=4))
    codes = [one.code for one in recorded(store, used_of("unheard", "x"), ahead)]
    assert codes == ["meter_unknown", "usage_ahead"]
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(usage_event)).scalar() == 0
    later = START + timedelta(days=5)
    assert statuses(store, used_of("calls", "a", received_at=later)) == ["accepted"]


def test_an_event_sent_again_when_it_is_late_is_a_duplicate_still(store: Store) -> None:
    meters = {"calls": Meter(name="calls", aggregation="sum")}
    late = START + timedelta(days=90)
    with store.write("acme") as connection:
        record(connection, "acme", [used_of("calls", "a")], meters, SCHEDULE)
        told = record(
            connection,
            "acme",
            [used_of("calls", "a", received_at=late), used_of("calls", "b", received_at=late)],
            meters,
            SCHEDULE,
        )
    assert [one.status for one in told] == ["duplicate", "late"]


def test_a_late_one_in_a_batch_with_its_own_identity_does_not_hide_the_good_one(
    store: Store,
) -> None:
    meters = {"calls": Meter(name="calls", aggregation="sum")}
    late = used_of("calls", "a", "7", received_at=START + timedelta(days=90))
    with store.write("acme") as connection:
        told = record(connection, "acme", [late, used_of("calls", "a", "2")], meters, SCHEDULE)
    assert [one.status for one in told] == ["late", "accepted"]
    assert used_in_january(store) == {"calls": Decimal(2)}


def test_the_same_identity_of_another_source_or_tenant_is_another_event(store: Store) -> None:
    assert statuses(store, used_of("calls", "a"), used_of("calls", "a", source="other")) == [
        "accepted",
        "accepted",
    ]
    other = used_of("calls", "a", tenant="globex")
    with store.write("globex") as connection:
        assert record(connection, "globex", [other], METERS, SCHEDULE)[0].status == "accepted"
    assert used_in_january(store) == {"calls": Decimal(2)}


def test_an_event_of_another_tenant_is_bad_input(store: Store) -> None:
    with pytest.raises(BadInput, match="events: must all be of the tenant"):
        recorded(store, used_of("calls", "a"), used_of("calls", "b", tenant="globex"))


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
def test_a_batch_has_1_to_1000_events(store: Store, count: int) -> None:
    with pytest.raises(BadInput, match="must be 1 to 1000"):
        recorded(store, *(used_of("calls", f"e{number}") for number in range(count)))


def test_quantities_add_up_exactly_beyond_what_a_number_type_holds(store: Store) -> None:
    least, most = "0.000000001", "999999999999999.999999999"
    recorded(store, *(used_of("calls", f"m{number}", most) for number in range(100)))
    recorded(store, *(used_of("calls", f"l{number}", least) for number in range(100)))
    assert used_in_january(store) == {"calls": Decimal(10**17)}


def test_a_text_with_any_sign_that_a_name_may_have_stays_as_it_is(store: Store) -> None:
    names = [
        "".join(chr(code) for code in range(0x21, 0x7F)),
        "'",
        '"',
        "\\",
        "\\u0000",
        "%s",
        ":x",
    ]
    events = [used_of("calls", name, source=name) for name in names]
    assert statuses(store, *events) == ["accepted"] * len(names)
    assert statuses(store, *events) == ["duplicate"] * len(names)


def test_every_aggregation_is_kept_up_over_batches(store: Store) -> None:
    for number in range(3):
        recorded(store, *(used_of(name, f"{name}-{number}", str(number + 1)) for name in METERS))
    assert used_in_january(store) == {
        "calls": Decimal(6),
        "logins": Decimal(3),
        "peak": Decimal(3),
        "disk": Decimal(3),
        "users": Decimal(3),
    }


def test_a_batch_takes_as_many_statements_however_large(store: Store) -> None:
    counted: list[str] = []

    def statement(*told: object) -> None:
        counted.append(str(told[2])[:6])

    told: list[int] = []
    for prefix, size in (("x", 1), ("y", BATCH_MAX)):
        events = [used_of("calls", f"{prefix}{number}") for number in range(size)]
        for _ in range(2):
            with store.write("acme") as connection:
                counted.clear()
                event.listen(Engine, "before_cursor_execute", statement)
                try:
                    record(connection, "acme", events, METERS, SCHEDULE)
                finally:
                    event.remove(Engine, "before_cursor_execute", statement)
            told.append(len(counted))
    # New ones; the same again, which are only looked up.
    assert told == [4, 2, 4, 2]


def test_a_tally_that_does_not_read_is_told(store: Store) -> None:
    recorded(store, used_of("calls", "a"))
    with store.write() as connection:
        connection.execute(update(usage_tally).values(tally={"aggregation": "sum", "total": 1.5}))
    with store.read() as connection, pytest.raises(Unavailable) as told:
        totals(connection, "acme", *ALWAYS)
    assert told.value.code == "usage_broken"


def test_two_writers_at_once_lose_no_count(store: Store) -> None:
    """Without the tenant's own lock, in opposite order, and half of the events are both's."""
    batches = [
        [used_of("calls", f"{size}-{number}") for number in range(100)] for size in range(20)
    ]
    gate = threading.Barrier(2)

    def write(order: list[list[UsageEvent]]) -> None:
        gate.wait(20)
        for batch in order:
            with store.append() as connection:
                record(connection, "acme", batch, METERS, SCHEDULE)

    orders = (batches[:15], [one[::-1] for one in batches[5:]])
    with ThreadPoolExecutor(2) as writers:
        for written in [writers.submit(write, order) for order in orders]:
            written.result(60)
    assert used_in_january(store) == {"calls": Decimal(2000)}


def _sent(random: Random, events: list[UsageEvent], repeats: int) -> Iterator[list[UsageEvent]]:
    """Every event at least once, some again and again, in any order, in batches of any size."""
    everything = events + random.choices(events, k=repeats)
    random.shuffle(everything)
    waiting = iter(everything)
    while batch := list(islice(waiting, random.randint(1, 300))):
        yield batch


def _same_totals_whatever_the_order(store: Store, seed: int, count: int, repeats: int) -> None:
    events = random_events(Random(seed), count)
    verdicts = [
        one
        for at in range(0, count, BATCH_MAX)
        for one in judge(events[at : at + BATCH_MAX], METERS, {"acme": SCHEDULE}, {})
    ]
    expected = merge_windows([tallies(events, verdicts, METERS)])
    accepted = 0
    for batch in _sent(Random(seed + 1), events, repeats):
        accepted += statuses(store, *batch).count("accepted")
    with store.read() as connection:
        assert totals(connection, "acme", *ALWAYS) == expected
        kept = connection.execute(select(func.count()).select_from(usage_event)).scalar()
    assert kept == accepted == sum(one.status == "accepted" for one in verdicts)
    assert accepted > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_totals_hang_on_the_set_of_events_alone(store: Store, seed: int) -> None:
    _same_totals_whatever_the_order(store, seed, 300, 300)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_duplicates_and_reorderings_change_no_total(store: Store, seed: int) -> None:
    _same_totals_whatever_the_order(store, seed * 100, 3_000, 10_000)
