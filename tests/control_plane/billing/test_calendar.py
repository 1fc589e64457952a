"""Billing periods: contiguous, anchored, by the customer's clock, whatever the machine's clock says."""

from __future__ import annotations

import time as process_time
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from control_plane.billing.calendar import (
    MONTHLY,
    PERIODS_MAX,
    YEARLY,
    Cycle,
    Period,
    ZoneName,
    boundary,
    local_day,
    next_period,
    period_at,
    periods_between,
    previous_period,
    zone_info,
)
from control_plane.errors import BadInput

ZONES = (
    "UTC",
    "Africa/Cairo",  # skips midnight
    "Africa/Casablanca",  # four changes a year
    "America/Havana",  # midnight comes twice
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",  # put back from 00:01 to the evening before, once on the first of a month
    "Antarctica/Troll",  # two hours
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour
    "Europe/Berlin",
    "Pacific/Apia",  # left out a day
    "Pacific/Kiritimati",
)
OTHER_CLOCKS = ("UTC", "America/Los_Angeles", "Asia/Tokyo", "Pacific/Kiritimati")

zones = st.sampled_from(ZONES)


def moments(start: datetime, seconds: int) -> st.SearchStrategy[datetime]:
    micros = st.integers(0, seconds).flatmap(
        lambda later: st.sampled_from([0, 1, 999_999]).map(lambda micro: later * 10**6 + micro)
    )
    return micros.map(lambda micro: start + timedelta(microseconds=micro))


instants = moments(datetime(1985, 1, 1, tzinfo=UTC), 75 * 366 * 86_400) | moments(
    # The year in which St. John's went back from the first of a month, and Apia left out a day.
    datetime(2009, 10, 31, 20, tzinfo=UTC),
    800 * 86_400,
)
cycles = st.builds(
    Cycle,
    interval=st.sampled_from(["month", "year"]),
    count=st.integers(1, 4),
    starts=st.sampled_from(["at_anchor", "at_midnight"]),
)
# The first example reads the database of zones.
unhurried = settings(deadline=None, max_examples=60)


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def starts(anchor: datetime, cycle: Cycle, zone: str, count: int) -> list[str]:
    """The first boundaries as local text, without the offset."""
    return [
        boundary(anchor, cycle, zone, index).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")
        for index in range(count)
    ]


@pytest.fixture(params=OTHER_CLOCKS)
def process_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """This process, as if the machine stood elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        process_time.tzset()
        yield request.param
    process_time.tzset()


def test_an_anchor_on_day_31_comes_back_to_it() -> None:
    anchor = local("2027-10-31 09:00", "Europe/Berlin")
    assert starts(anchor, MONTHLY, "Europe/Berlin", 8) == [
        "2027-10-31 09:00",
        "2027-11-30 09:00",
        "2027-12-31 09:00",
        "2028-01-31 09:00",
        "2028-02-29 09:00",
        "2028-03-31 09:00",
        "2028-04-30 09:00",
        "2028-05-31 09:00",
    ]


def test_a_year_from_29_february_ends_on_28_and_comes_back_in_a_leap_year() -> None:
    anchor = datetime(2024, 2, 29, tzinfo=UTC)
    assert [text[:10] for text in starts(anchor, YEARLY, "UTC", 5)] == [
        "2024-02-29",
        "2025-02-28",
        "2026-02-28",
        "2027-02-28",
        "2028-02-29",
    ]


def test_no_29_february_in_2100() -> None:
    assert boundary(datetime(2096, 2, 29, tzinfo=UTC), YEARLY, "UTC", 4) == datetime(
        2100, 2, 28, tzinfo=UTC
    )


def test_a_period_may_have_several_intervals() -> None:
    quarter, two_years = Cycle(interval="month", count=3), Cycle(interval="year", count=2)
    anchor = datetime(2026, 11, 30, tzinfo=UTC)
    assert [text[:10] for text in starts(anchor, quarter, "UTC", 3)] == [
        "2026-11-30",
        "2027-02-28",
        "2027-05-30",
    ]
    assert [text[:10] for text in starts(anchor, two_years, "UTC", 2)] == [
        "2026-11-30",
        "2028-11-30",
    ]


def test_local_time_is_kept_across_a_change_of_clocks() -> None:
    anchor = local("2026-03-01 00:00", "Europe/Berlin")
    first = period_at(anchor, MONTHLY, "Europe/Berlin", anchor)
    assert first.start == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert first.end == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert first.end - first.start == timedelta(days=31, hours=-1)


@pytest.mark.parametrize(
    ("zone", "anchor", "cycle", "expected"),
    [
        # 02:30 is skipped, and moves on by the hour.
        ("Europe/Berlin", "2026-02-28 02:30", MONTHLY, "2026-03-28T01:30:00Z"),
        ("Europe/Berlin", "2027-02-28 02:30", MONTHLY, "2027-03-28T01:30:00Z"),
        # 02:30 comes twice, and the first counts.
        ("Europe/Berlin", "2026-09-25 02:30", MONTHLY, "2026-10-25T00:30:00Z"),
        # Midnight is skipped: the day begins at one.
        ("America/Sao_Paulo", "2018-10-04 00:00", MONTHLY, "2018-11-04T03:00:00Z"),
        # The day is left out: its midnight is the next day's.
        ("Pacific/Apia", "2011-11-30 00:00", MONTHLY, "2011-12-30T10:00:00Z"),
        # Half an hour.
        ("Australia/Lord_Howe", "2026-09-04 02:15", MONTHLY, "2026-10-03T15:45:00Z"),
    ],
)
def test_a_local_time_that_is_skipped_moves_on_and_one_that_repeats_is_the_first(
    zone: str, anchor: str, cycle: Cycle, expected: str
) -> None:
    assert boundary(local(anchor, zone), cycle, zone, 1) == datetime.fromisoformat(expected)


def test_an_anchor_in_the_second_of_two_equal_hours_is_kept_as_it_is() -> None:
    anchor = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # 02:30 in Berlin, for the second time
    assert boundary(anchor, MONTHLY, "Europe/Berlin", 0) == anchor
    assert period_at(anchor, MONTHLY, "Europe/Berlin", anchor).index == 0
    assert period_at(anchor, MONTHLY, "Europe/Berlin", anchor - timedelta(seconds=1)).index == -1
    assert starts(anchor, MONTHLY, "Europe/Berlin", 2)[1] == "2026-11-25 02:30"


def test_an_anchor_in_the_second_hour_lends_no_other_period_its_being_second() -> None:
    anchor = datetime(2029, 10, 28, 1, 30, tzinfo=UTC)  # 02:30 in Berlin, for the second time
    skipped = boundary(anchor, MONTHLY, "Europe/Berlin", -31)
    assert skipped == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)


def test_midnight_that_is_skipped_once_is_midnight_again_the_month_after() -> None:
    cycle = Cycle(interval="month", starts="at_midnight")
    anchor = local("2018-11-04 17:45", "America/Sao_Paulo")
    assert starts(anchor, cycle, "America/Sao_Paulo", 2) == ["2018-11-04 01:00", "2018-12-04 00:00"]
    assert period_at(anchor, cycle, "America/Sao_Paulo", anchor).index == 0


def test_the_evening_before_shown_again_belongs_to_the_month_that_had_begun() -> None:
    zone = "America/St_Johns"
    cycle = Cycle(interval="month", starts="at_midnight")
    anchor = local("2009-10-01 00:00", zone)
    begun = datetime(2009, 11, 1, 2, 30, tzinfo=UTC)
    again = datetime(2009, 11, 1, 3, 0, tzinfo=UTC)
    assert again.astimezone(ZoneInfo(zone)).date() == date(2009, 10, 31)
    assert boundary(anchor, cycle, zone, 1) == begun
    assert period_at(anchor, cycle, zone, again).index == 1
    assert boundary(again, cycle, zone, 0) == begun
    assert local_day(again, zone) == date(2009, 11, 1)
    assert local_day(begun - timedelta(seconds=1), zone) == date(2009, 10, 31)


def test_a_period_is_half_open() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    end = datetime(2026, 2, 1, tzinfo=UTC)
    assert period_at(anchor, MONTHLY, "UTC", end - timedelta(microseconds=1)).index == 0
    assert period_at(anchor, MONTHLY, "UTC", end).index == 1
    first = period_at(anchor, MONTHLY, "UTC", anchor)
    assert first.holds(anchor)
    assert first.holds(end - timedelta(microseconds=1))
    assert not first.holds(end)


def test_periods_before_the_anchor_have_negative_indexes() -> None:
    anchor = datetime(2026, 3, 31, tzinfo=UTC)
    found = period_at(anchor, MONTHLY, "UTC", datetime(2026, 3, 1, tzinfo=UTC))
    assert (found.index, found.start) == (-1, datetime(2026, 2, 28, tzinfo=UTC))


def test_periods_between_are_those_that_share_time() -> None:
    anchor = datetime(2026, 1, 15, tzinfo=UTC)
    march = datetime(2026, 3, 15, tzinfo=UTC)

    def indexes(start: datetime, end: datetime) -> list[int]:
        return [one.index for one in periods_between(anchor, MONTHLY, "UTC", start, end)]

    assert indexes(anchor, march) == [0, 1]
    assert indexes(anchor, march + timedelta(microseconds=1)) == [0, 1, 2]
    assert indexes(anchor - timedelta(microseconds=1), anchor) == [-1]
    assert indexes(march, march) == []
    assert indexes(march, anchor) == []


def test_a_century_of_months_is_the_most() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    full = periods_between(anchor, MONTHLY, "UTC", anchor, datetime(2126, 1, 1, tzinfo=UTC))
    assert len(full) == PERIODS_MAX
    with pytest.raises(BadInput, match="end: "):
        periods_between(anchor, MONTHLY, "UTC", anchor, datetime(2126, 1, 1, 1, tzinfo=UTC))


@unhurried
@given(anchor=instants, cycle=cycles, zone=zones, instant=instants)
def test_every_instant_lies_in_exactly_one_period_and_neighbours_touch(
    anchor: datetime, cycle: Cycle, zone: str, instant: datetime
) -> None:
    found = period_at(anchor, cycle, zone, instant)
    before = previous_period(anchor, cycle, zone, found)
    after = next_period(anchor, cycle, zone, found)
    assert found.holds(instant)
    assert before.end == found.start
    assert found.end == after.start
    assert before.start < found.start < found.end < after.end
    assert not before.holds(instant)
    assert not after.holds(instant)
    assert next_period(anchor, cycle, zone, before) == found


@unhurried
@given(anchor=instants, cycle=cycles, zone=zones, index=st.integers(-3, 200))
def test_a_boundary_falls_on_the_anchors_day_or_the_last_of_its_month(
    anchor: datetime, cycle: Cycle, zone: str, index: int
) -> None:
    place = ZoneInfo(zone)
    first = (
        local_day(anchor, zone)
        if cycle.starts == "at_midnight"
        else anchor.astimezone(place).date()
    )
    found = boundary(anchor, cycle, zone, index).astimezone(place)
    months = (found.year - first.year) * 12 + found.month - first.month
    # The one day that a zone has left out: its periods begin with the next.
    assume((zone, found.date()) != ("Pacific/Apia", date(2011, 12, 31)))
    assert months == index * cycle.months
    assert found.day == min(first.day, monthrange(found.year, found.month)[1])


@unhurried
@given(instant=instants, seconds=st.integers(0, 200_000), zone=zones)
def test_a_local_day_never_goes_back(instant: datetime, seconds: int, zone: str) -> None:
    assert local_day(instant, zone) <= local_day(instant + timedelta(seconds=seconds), zone)


@unhurried
@given(anchor=instants, cycle=cycles, zone=zones, instant=instants, given_in=zones)
def test_the_zone_an_instant_is_given_in_makes_no_difference(
    anchor: datetime, cycle: Cycle, zone: str, instant: datetime, given_in: str
) -> None:
    elsewhere = ZoneInfo(given_in)
    assert period_at(
        anchor.astimezone(elsewhere), cycle, zone, instant.astimezone(elsewhere)
    ) == period_at(anchor, cycle, zone, instant)


def test_the_zone_of_the_process_makes_no_difference(process_zone: str) -> None:
    here = datetime.fromtimestamp(0, ZoneInfo(process_zone))
    assert timedelta(seconds=process_time.localtime(0).tm_gmtoff) == here.utcoffset()
    anchor = local("2026-01-31 23:30", "America/New_York")
    found = periods_between(
        anchor, MONTHLY, "America/New_York", anchor, datetime(2026, 5, 1, tzinfo=UTC)
    )
    assert [one.start.isoformat() for one in found] == [
        "2026-02-01T04:30:00+00:00",
        "2026-03-01T04:30:00+00:00",
        "2026-04-01T03:30:00+00:00",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "localtime",
        "Mars/Olympus",
        "europe/berlin",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "../../../etc/passwd",
        "/usr/share/zoneinfo/UTC",
        "America",
        "UTC\n",
        "\x00",
    ],
)
def test_only_an_iana_name_is_a_zone(name: str) -> None:
    with pytest.raises(BadInput, match="zone: must be the IANA name of a time zone"):
        zone_info(name)
    with pytest.raises(ValidationError, match="IANA name"):
        TypeAdapter[str](ZoneName).validate_python(name)
    with pytest.raises(BadInput):
        period_at(datetime(2026, 1, 1, tzinfo=UTC), MONTHLY, name, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_naive_instant_is_a_mistake_of_the_program() -> None:
    aware = datetime(2026, 1, 1, tzinfo=UTC)
    naive = aware.replace(tzinfo=None)
    for anchor, instant in ((aware, naive), (naive, aware)):
        with pytest.raises(TypeError):
            period_at(anchor, MONTHLY, "UTC", instant)


@pytest.mark.parametrize(
    "instant", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_an_instant_that_no_calendar_reaches_is_bad_input(instant: datetime) -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(BadInput, match="years 1970 to 2999"):
        period_at(anchor, MONTHLY, "UTC", instant)
    with pytest.raises(BadInput, match="years 1970 to 2999"):
        boundary(anchor, YEARLY, "UTC", 10**9)


@pytest.mark.parametrize(
    "fields",
    [
        {"interval": "week"},
        {"interval": "month", "count": 0},
        {"interval": "month", "count": 37},
        {"interval": "month", "count": "1"},
        {"interval": "month", "starts": "now"},
        {"interval": "month", "zone": "UTC"},
    ],
)
def test_a_cycle_is_read_strictly(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Cycle.model_validate(fields)


def test_a_period_ends_after_it_starts() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValidationError, match="ends after it starts"):
        Period(index=0, start=at, end=at)


@pytest.mark.sweep
@settings(max_examples=3_000, deadline=None)
@given(anchor=instants, cycle=cycles, zone=zones, instant=instants)
def test_every_instant_lies_in_one_period_in_any_zone(
    anchor: datetime, cycle: Cycle, zone: str, instant: datetime
) -> None:
    found = period_at(anchor, cycle, zone, instant)
    assert found.holds(instant)
    assert found.start == previous_period(anchor, cycle, zone, found).end
