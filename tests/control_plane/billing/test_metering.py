"""Usage: each event counts once, in a period that is open, whatever the order and the batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from random import Random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from control_plane.billing.calendar import MONTHLY, Cycle
from control_plane.billing.metering import (
    AHEAD_MAX,
    BATCH_MAX,
    Aggregation,
    Meter,
    Schedule,
    SumTally,
    Tally,
    Verdict,
    Window,
    empty,
    judge,
    merge,
    merge_windows,
    tallies,
    tally_of,
    usage,
)
from control_plane.billing.usage_events import Identity, ReportedEvent, UsageEvent, digest_of
from control_plane.errors import BadInput

MICRO = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (2, 3))
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
SCHEDULES = {
    tenant: Schedule(anchor=START, cycle=MONTHLY, zone="UTC") for tenant in ("acme", "globex")
}
METERS = {
    meter.name: meter
    for late in ("refuse", "next_period")
    for aggregation in AGGREGATIONS
    for meter in [Meter(name=f"{aggregation}.{late}", aggregation=aggregation, late=late)]
}
TALLY: TypeAdapter[Tally] = TypeAdapter(Tally)
unhurried = settings(deadline=None, max_examples=50)


def event(name: str = "e-1", occurred_at: datetime = START, /, **changes: object) -> UsageEvent:
    fields: dict[str, object] = {
        "source": "app",
        "id": name,
        "tenant": "acme",
        "meter": "sum.refuse",
        "occurred_at": occurred_at,
        "received_at": changes.get("occurred_at", occurred_at),
        "quantity": "2.5",
        "key": "k",
    }
    return UsageEvent.model_validate(fields | changes)


def one(judged: UsageEvent, recorded: dict[Identity, str] | None = None) -> Verdict:
    (verdict,) = judge([judged], METERS, SCHEDULES, recorded or {})
    return verdict


def seen(*events: UsageEvent) -> dict[Identity, str]:
    return {known.identity: known.digest() for known in events}


def what(verdict: Verdict) -> tuple[str, str]:
    return verdict.status, verdict.code


# identity --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [
        event(),
        event(received_at=START + 400 * HOUR),
        event(quantity="2.500"),
        event(occurred_at=START.astimezone(timezone(timedelta(hours=5, minutes=45)))),
    ],
)
def test_the_same_event_again_is_a_duplicate_however_it_is_written(again: UsageEvent) -> None:
    assert one(event()).status == "accepted"
    assert what(one(again, seen(event()))) == ("duplicate", "")


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "globex"},
        {"meter": "sum.next_period"},
        {"occurred_at": START + MICRO},
        {"quantity": "2.500000001"},
        {"key": "l"},
    ],
)
def test_other_content_under_the_same_identity_is_a_conflict(change: dict[str, object]) -> None:
    assert what(one(event(**change), seen(event()))) == ("conflict", "usage_conflict")


@pytest.mark.parametrize("change", [{"id": "e-2"}, {"source": "app-2"}])
def test_another_identity_is_another_event(change: dict[str, object]) -> None:
    assert one(event(**change), seen(event())).status == "accepted"


def test_parts_of_an_identity_do_not_run_together() -> None:
    left, right = event(source="a/b", id="c"), event(source="a", id="b/c")
    assert one(left, seen(right)).status == "accepted"


def test_a_batch_knows_its_own_events_and_judges_each_alone() -> None:
    batch = [
        event("a"),
        event("a"),
        event("a", quantity="9"),
        event("b", meter="nothing"),
        event("b"),
        event("b", received_at=START + HOUR),
    ]
    assert [verdict.status for verdict in judge(batch, METERS, SCHEDULES, {})] == [
        "accepted",
        "duplicate",
        "conflict",
        "unknown_meter",
        "accepted",
        "duplicate",
    ]


def test_what_was_accepted_stays_a_duplicate_when_meter_tenant_and_time_are_gone() -> None:
    again = event(received_at=START + 5000 * HOUR)
    (verdict,) = judge([again], {}, {}, seen(again))
    assert verdict.status == "duplicate"


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
def test_an_empty_or_too_large_batch_is_bad_input(count: int) -> None:
    with pytest.raises(BadInput, match="events"):
        judge([event()] * count, METERS, SCHEDULES, {})


def test_the_largest_batch_is_judged_whole() -> None:
    batch = [event(f"e-{number}") for number in range(BATCH_MAX)]
    verdicts = judge(batch, METERS, SCHEDULES, {})
    assert {verdict.status for verdict in verdicts} == {"accepted"}
    (tally,) = tallies(batch, verdicts, METERS).values()
    assert usage(tally) == 2500


# what cannot count -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        (event(tenant="nobody"), "usage_without_period"),
        (event(occurred_at=START - MICRO), "usage_without_period"),
        (event(occurred_at=datetime(1970, 1, 1, tzinfo=UTC)), "usage_without_period"),
        (event(received_at=START - AHEAD_MAX - MICRO), "usage_ahead"),
        (event(meter="unique.refuse", key=""), "usage_without_key"),
    ],
)
def test_an_event_that_has_no_place_is_invalid(odd: UsageEvent, code: str) -> None:
    assert what(one(odd)) == ("invalid", code)
    assert one(odd).period is None


def test_an_unknown_meter_is_told() -> None:
    assert what(one(event(meter="nothing"))) == ("unknown_meter", "meter_unknown")


def test_a_senders_clock_may_be_a_little_fast() -> None:
    assert one(event(received_at=START - AHEAD_MAX)).status == "accepted"


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 1.5},
        {"quantity": "-1"},
        {"quantity": "NaN"},
        {"quantity": "1e3"},
        {"quantity": "0.0000000001"},
        {"id": ""},
        {"id": "a b"},
        {"id": "a\n"},
        {"source": "ü"},
        {"key": "a\x00"},
        {"occurred_at": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"occurred_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        {"occurred_at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))},
        {"more": "1"},
    ],
)
def test_an_event_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        event(**change)


# periods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", ["refuse", "next_period"])
def test_a_period_takes_events_until_its_deadline_and_not_at_it(late: str) -> None:
    occurred, deadline = FEBRUARY - MICRO, FEBRUARY + 24 * HOUR
    meter = f"sum.{late}"
    in_time = one(event(occurred_at=occurred, received_at=deadline - MICRO, meter=meter))
    assert in_time.period is not None
    assert (in_time.period.start, in_time.moved) == (START, False)
    late_one = one(event(occurred_at=occurred, received_at=deadline, meter=meter))
    if late == "refuse":
        assert what(late_one) == ("late", "usage_late")
        assert late_one.period is None
    else:
        assert late_one.period is not None
        assert (late_one.status, late_one.moved) == ("accepted", True)
        assert late_one.period.start == FEBRUARY


def test_a_very_late_event_skips_every_period_that_is_closed() -> None:
    received = datetime(2026, 6, 1, 23, tzinfo=UTC)
    moved = one(event(meter="sum.next_period", received_at=received))
    assert moved.period is not None
    # The deadline of May is an hour away.
    assert moved.period.start == datetime(2026, 5, 1, tzinfo=UTC)


def test_the_period_is_the_customers_own() -> None:
    berlin = Schedule(anchor=START - HOUR, cycle=MONTHLY, zone="Europe/Berlin")
    # From the last Sunday of March on, midnight in Berlin is two hours earlier than in UTC.
    instant = datetime(2026, 4, 30, 22, tzinfo=UTC)
    found = [
        judge([event(occurred_at=at)], METERS, {"acme": berlin}, {})[0].period
        for at in (instant - MICRO, instant)
    ]
    assert [period.index for period in found if period] == [3, 4]


@unhurried
@given(
    occurred=st.integers(0, 400 * 24),
    delay=st.integers(0, 400 * 24),
    late_hours=st.sampled_from([0, 1, 24, 24 * 40, 24 * 90]),
    count=st.integers(1, 3),
)
def test_nothing_is_ever_added_to_a_closed_period(
    occurred: int, delay: int, late_hours: int, count: int
) -> None:
    meter = Meter(name="m", aggregation="sum", late="next_period", late_hours=late_hours)
    cycle = Cycle(interval="month", count=count)
    schedule = Schedule(anchor=START, cycle=cycle, zone="America/St_Johns")
    at = START + occurred * HOUR
    (verdict,) = judge(
        [event(meter="m", occurred_at=at, received_at=at + delay * HOUR)],
        {"m": meter},
        {"acme": schedule},
        {},
    )
    period, received = verdict.period, at + delay * HOUR
    assert period is not None
    assert meter.deadline(period) > received
    own = schedule.period_at(at)
    if verdict.moved:
        assert meter.deadline(own) <= received
        assert period.index > own.index
        # And none before it was still open.
        assert meter.deadline(schedule.period_at(period.start - MICRO)) <= received
    else:
        assert period == own


# aggregation -----------------------------------------------------------------------------------

quantities = st.decimals(
    min_value=0, max_value=10**9, places=3, allow_nan=False, allow_infinity=False
).map(lambda number: format(number, "f"))


@st.composite
def streams(draw: st.DrawFn, count_max: int = 14) -> list[UsageEvent]:
    count = draw(st.integers(1, count_max))
    # Few meters, so that several events share a window.
    meters = draw(st.lists(st.sampled_from(sorted(METERS)), min_size=1, max_size=2))
    events = [
        event(
            f"e-{number}",
            occurred_at=(at := START + draw(st.integers(0, 60)) * 24 * HOUR),
            received_at=at + draw(st.sampled_from([0, 1, 23, 24, 48, 1000])) * HOUR,
            quantity=draw(quantities),
            key=draw(st.sampled_from(["a", "b", "c"])),
            tenant=draw(st.sampled_from(["acme", "globex"])),
            meter=draw(st.sampled_from(meters)),
        )
        for number in range(count)
    ]
    return events + draw(st.lists(st.sampled_from(events), max_size=4))


def cut(events: Sequence[UsageEvent], random: Random) -> Iterator[Sequence[UsageEvent]]:
    marks = {0, len(events), *(random.randrange(len(events) + 1) for _ in range(3))}
    for start, end in pairwise(sorted(marks)):
        yield events[start:end]


def reported(events: Sequence[UsageEvent]) -> list[ReportedEvent]:
    return [
        ReportedEvent(
            known.source,
            known.id,
            known.tenant,
            known.meter,
            known.quantity,
            known.occurred_at,
            known.occurred_text,
            known.received_at,
            known.key,
        )
        for known in events
    ]


def run(batches: Sequence[Sequence[UsageEvent]]) -> dict[Window, Tally]:
    recorded, parts = dict[Identity, str](), list[dict[Window, Tally]]()
    for batch in batches:
        verdicts = judge(batch, METERS, SCHEDULES, recorded)
        parts.append(tallies(batch, verdicts, METERS))
        recorded |= {
            known.identity: known.digest()
            for known, verdict in zip(batch, verdicts, strict=True)
            if verdict.status == "accepted"
        }
    return merge_windows(parts)


def plain_usage(aggregation: Aggregation, events: Sequence[UsageEvent]) -> Fraction:
    # By the definition alone, over all events at once.
    amounts = [Fraction(counted.quantity) for counted in events]
    match aggregation:
        case "sum":
            return sum(amounts, Fraction(0))
        case "count":
            return Fraction(len(events))
        case "max":
            return max(amounts, default=Fraction(0))
        case "last":
            ordered = sorted(events, key=lambda it: (it.occurred_at, it.source, it.id))
            return Fraction(ordered[-1].quantity) if ordered else Fraction(0)
        case "unique":
            return Fraction(len({counted.key for counted in events}))


def check_order(events: list[UsageEvent], random: Random) -> None:
    whole = run([events])
    light = reported(events)
    verdicts = judge(events, METERS, SCHEDULES, {})
    assert judge(light, METERS, SCHEDULES, {}) == verdicts
    assert tallies(light, verdicts, METERS) == whole
    assert [digest_of(known) for known in light] == [known.digest() for known in events]
    shuffled = random.sample(events, len(events))
    other = run(list(cut(shuffled, random)))
    assert whole == other
    assert {
        window: TALLY.dump_json(tally)
        for window, tally in whole.items()
        if "unique" not in window.meter
    } == {
        window: TALLY.dump_json(tally)
        for window, tally in other.items()
        if "unique" not in window.meter
    }
    once = {counted.identity: counted for counted in events}.values()
    by_window = dict[Window, list[UsageEvent]]()
    for counted in once:
        period = one(counted).period
        if period is not None:
            window = Window(tenant=counted.tenant, meter=counted.meter, start=period.start)
            by_window.setdefault(window, []).append(counted)
    assert {window: Fraction(usage(tally)) for window, tally in whole.items()} == {
        window: plain_usage(METERS[window.meter].aggregation, members)
        for window, members in by_window.items()
    }


@unhurried
@given(streams(), st.randoms(use_true_random=False))
def test_usage_is_that_of_the_definition_whatever_order_batches_and_repeats(
    events: list[UsageEvent], random: Random
) -> None:
    check_order(events, random)


@pytest.mark.sweep
@settings(deadline=None, max_examples=3_000)
@given(streams(count_max=40), st.randoms(use_true_random=False))
def test_usage_is_that_of_the_definition_over_many_streams(
    events: list[UsageEvent], random: Random
) -> None:
    check_order(events, random)


@st.composite
def three(draw: st.DrawFn) -> list[Tally]:
    aggregation = draw(st.sampled_from(AGGREGATIONS))
    numbers = st.lists(st.tuples(st.integers(0, 3), quantities), max_size=3)
    found = list[Tally]()
    for part in "abc":
        ones: list[Tally] = [
            tally_of(aggregation, event(f"{part}{place}", START + at * HOUR, quantity=quantity))
            for place, (at, quantity) in enumerate(draw(numbers))
        ]
        found.append(reduce(merge, ones, empty(aggregation)))
    return found


@unhurried
@given(three())
def test_merge_is_associative_and_commutative_and_nothing_changes_nothing(
    found: list[Tally],
) -> None:
    a, b, c = found
    assert merge(a, merge(b, c)) == merge(merge(a, b), c)
    assert merge(a, b) == merge(b, a)
    assert merge(a, empty(a.aggregation)) == a == merge(empty(a.aggregation), a)
    assert TALLY.validate_json(TALLY.dump_json(a)) == a


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_aggregation_adds_up_as_defined(aggregation: Aggregation) -> None:
    events = [
        event(name, START + at * HOUR, quantity=quantity, key=key)
        for name, at, quantity, key in (
            ("a", 2, "7", "x"),
            ("b", 3, "1.5", "y"),
            ("c", 0, "4", "x"),
            ("d", 1, "3", "z"),
        )
    ]
    ones = [tally_of(aggregation, counted) for counted in events]
    nothing = empty(aggregation)
    assert usage(nothing) == 0
    assert all(merge(nothing, tally) == tally == merge(tally, nothing) for tally in ones)
    expected = {"sum": "15.5", "count": "4", "max": "7", "last": "1.5", "unique": "3"}
    for order in (ones, ones[::-1]):
        assert usage(reduce(merge, order, nothing)) == Decimal(expected[aggregation])


def test_a_sum_is_exact_whatever_precision_the_process_sets() -> None:
    parts = [tally_of("sum", event(quantity=text)) for text in ("999999999999999", "0.000000001")]
    with localcontext(prec=3):
        found = merge(*parts)
        assert usage(found) == Decimal("999999999999999.000000001")
        assert json.loads(TALLY.dump_json(found))["total"] == "999999999999999.000000001"


def test_two_aggregations_are_never_merged() -> None:
    with pytest.raises(BadInput, match="aggregation"):
        merge(empty("sum"), empty("count"))


@pytest.mark.parametrize("total", ["1.5", "1e3", "-1", "NaN"])
def test_a_stored_sum_is_read_from_plain_text_alone(total: str) -> None:
    as_text = json.dumps({"total": total})
    if total == "1.5":
        assert SumTally.model_validate_json(as_text).total == Decimal("1.5")
        as_text = '{"total": 1.5}'
    with pytest.raises(ValidationError):
        SumTally.model_validate_json(as_text)


def test_of_two_readings_at_one_instant_the_greater_identity_stands() -> None:
    low, high = (
        tally_of("last", event(name, quantity=text)) for name, text in (("a", "7"), ("b", "3"))
    )
    assert usage(merge(low, high)) == usage(merge(high, low)) == 3


def test_a_moved_reading_never_stands_over_one_of_the_period_itself() -> None:
    moved = event(
        "moved", FEBRUARY - HOUR, received_at=MARCH - HOUR, meter="last.next_period", quantity="9"
    )
    own = event("own", FEBRUARY, meter="last.next_period", quantity="1")
    (tally,) = run([[moved, own]]).values()
    assert usage(tally) == 1
