"""The share of a period and the two lines of a change: exact, and by the customer's days."""

from __future__ import annotations

import time as process_time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.calendar import MONTHLY, YEARLY, Cycle, Period, period_at
from control_plane.billing.proration import (
    ProrationBasis,
    change_lines,
    credit,
    debit,
    factor,
    share,
)
from control_plane.domain.money import Money
from control_plane.domain.plans import ProrationMode
from control_plane.errors import BadInput, Refused

ZONES = ("UTC", "America/New_York", "America/St_Johns", "Africa/Cairo", "Pacific/Apia")
MODES: tuple[ProrationMode, ...] = ("second", "day")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def basis(
    mode: ProrationMode, start: datetime, zone: str = "UTC", cycle: Cycle = MONTHLY
) -> ProrationBasis:
    return ProrationBasis(period=period_at(start, cycle, zone, start), mode=mode, zone=zone)


def usd(minor: int) -> Money:
    return Money(minor=minor, currency="USD")


@pytest.mark.parametrize(
    ("old", "new", "currency", "start", "cycle", "at", "seconds", "net_day"),
    [
        (1000, 2000, "USD", "2026-04-01", MONTHLY, "2026-04-16", (-500, 1000, 500), 500),
        (
            2999,
            9999,
            "USD",
            "2026-10-01",
            MONTHLY,
            "2026-10-10T13:37:11",
            (-2073, 6913, 4840),
            4968,
        ),
        (9999, 2999, "USD", "2026-02-01", MONTHLY, "2026-02-27T23:59:59", (-357, 107, -250), -500),
        (
            119_900,
            239_900,
            "USD",
            "2026-01-01",
            YEARLY,
            "2026-01-01T00:00:01",
            (-119_900, 239_900, 120_000),
            120_000,
        ),
        (3000, 5000, "JPY", "2026-06-01", MONTHLY, "2026-06-11", (-2000, 3333, 1333), 1333),
        (10_000, 0, "USD", "2028-02-01", MONTHLY, "2028-02-15T12:00", (-5000, 0, -5000), -5172),
    ],
)
def test_the_golden_vectors_hold(
    old: int,
    new: int,
    currency: str,
    start: str,
    cycle: Cycle,
    at: str,
    seconds: tuple[int, int, int],
    net_day: int,
) -> None:
    before, after = Money(minor=old, currency=currency), Money(minor=new, currency=currency)

    def lines(mode: ProrationMode) -> tuple[int, int]:
        left = factor(basis(mode, utc(start), cycle=cycle), utc(at))
        back, due = change_lines(before, after, left)
        assert back.currency == due.currency == currency
        return back.minor, due.minor

    assert (*lines("second"), sum(lines("second"))) == seconds
    assert sum(lines("day")) == net_day


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("zone", ZONES)
def test_all_is_left_at_the_start_and_nothing_at_the_end(mode: ProrationMode, zone: str) -> None:
    whole = basis(mode, utc("2009-10-01T02:30"), zone)
    assert factor(whole, whole.period.start) == 1
    assert factor(whole, whole.period.end) == 0


def test_seconds_count_an_hour_less_where_clocks_go_forward() -> None:
    zone = "Europe/Berlin"
    start = datetime(2026, 3, 1, tzinfo=ZoneInfo(zone))
    at = datetime(2026, 3, 31, tzinfo=ZoneInfo(zone))
    assert factor(basis("second", start, zone), at) == Fraction(24, 31 * 24 - 1)
    assert factor(basis("day", start, zone), at) == Fraction(1, 31)


def test_a_part_of_a_second_is_cut_off() -> None:
    month = basis("second", utc("2026-04-01T00:00:00.7"))
    whole = 30 * 86_400
    assert factor(month, utc("2026-04-01T00:00:00.999999")) == 1
    assert factor(month, utc("2026-04-01T00:00:01")) == Fraction(whole - 1, whole)


def test_days_are_the_customers_and_not_the_servers() -> None:
    at = utc("2026-04-16T03:00")  # still the 15th in New York
    home = datetime(2026, 4, 1, tzinfo=ZoneInfo("America/New_York"))
    assert factor(basis("day", utc("2026-04-01")), at) == Fraction(15, 30)
    assert factor(basis("day", home, "America/New_York"), at) == Fraction(16, 30)


def test_an_hour_shown_twice_across_midnight_is_no_day_gained() -> None:
    zone = "America/St_Johns"
    month = basis("day", datetime(2009, 11, 1, tzinfo=ZoneInfo(zone)), zone)
    again = utc("2009-11-01T03:00")  # the wall shows the evening of 31 October once more
    assert again.astimezone(ZoneInfo(zone)).day == 31
    assert factor(month, again) == 1


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(MODES),
    zone=st.sampled_from(ZONES),
    cycle=st.sampled_from([MONTHLY, YEARLY, Cycle(interval="month", starts="at_midnight")]),
    # Around the end of 2011, in which Apia left out a day, and of 2009.
    start=st.integers(0, 1_000 * 86_400).map(
        lambda seconds: datetime(2009, 6, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    parts=st.lists(st.fractions(0, 1), min_size=2, max_size=2).map(sorted),
)
def test_what_is_left_never_rises(
    mode: ProrationMode, zone: str, cycle: Cycle, start: datetime, parts: list[Fraction]
) -> None:
    whole = basis(mode, start, zone, cycle)
    micro = timedelta(microseconds=1)
    length = (whole.period.end - whole.period.start) // micro
    early, late = (whole.period.start + int(part * length) * micro for part in parts)
    assert 1 >= factor(whole, early) >= factor(whole, late) >= 0


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(MODES),
    zone=st.sampled_from(ZONES),
    given_in=st.sampled_from(ZONES),
    seconds=st.integers(0, 30 * 86_400),
)
def test_the_zone_an_instant_is_given_in_makes_no_difference(
    mode: ProrationMode, zone: str, given_in: str, seconds: int
) -> None:
    whole = basis(mode, utc("2009-11-01T02:30"), zone)
    at = whole.period.start + timedelta(seconds=seconds)
    elsewhere = ZoneInfo(given_in)
    moved = Period(
        index=0,
        start=whole.period.start.astimezone(elsewhere),
        end=whole.period.end.astimezone(elsewhere),
    )
    there = ProrationBasis(period=moved, mode=mode, zone=zone)
    assert factor(there, at.astimezone(elsewhere)) == factor(whole, at)


@pytest.mark.parametrize("machine", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_the_zone_of_the_process_makes_no_difference(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = datetime(2026, 4, 1, tzinfo=ZoneInfo("America/New_York"))
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", machine)
            process_time.tzset()
            left = factor(basis("day", home, "America/New_York"), utc("2026-04-16T03:00"))
    finally:
        process_time.tzset()
    assert left == Fraction(16, 30)


def test_a_credit_gives_back_and_a_debit_charges_the_same_share() -> None:
    left = Fraction(2, 3)
    assert credit(usd(1000), left) == usd(-667)
    assert debit(usd(1000), left) == share(usd(1000), left) == usd(667)
    assert credit(usd(0), left) == debit(usd(0), left) == usd(0)


@pytest.mark.parametrize("left", [Fraction(-1, 10**9), Fraction(10**9 + 1, 10**9)])
def test_a_share_lies_between_nothing_and_all(left: Fraction) -> None:
    with pytest.raises(BadInput, match="left: "):
        share(usd(1000), left)


def test_a_price_below_zero_is_bad_input() -> None:
    with pytest.raises(BadInput, match="price: "):
        credit(usd(-1), Fraction(1))


def test_a_change_never_mixes_currencies() -> None:
    with pytest.raises(Refused) as caught:
        change_lines(usd(1000), Money(minor=1000, currency="EUR"), Fraction(1, 2))
    assert caught.value.code == "two_currencies"


@pytest.mark.parametrize("mode", MODES)
def test_an_instant_outside_of_the_period_is_bad_input(mode: ProrationMode) -> None:
    month = basis(mode, utc("2026-04-01"))
    micro = timedelta(microseconds=1)
    for at in (month.period.start - micro, month.period.end + micro):
        with pytest.raises(BadInput, match="at: must lie in the period"):
            factor(month, at)


@pytest.mark.parametrize(("mode", "hours"), [("day", 10), ("second", 0)])
def test_a_period_without_a_whole_unit_is_bad_input(mode: ProrationMode, hours: int) -> None:
    start = utc("2026-04-01")
    short = Period(index=0, start=start, end=start + timedelta(hours=hours, microseconds=1))
    with pytest.raises(BadInput, match=f"at least one {mode}"):
        factor(ProrationBasis(period=short, mode=mode, zone="UTC"), start)


def test_a_basis_is_read_strictly() -> None:
    fine = basis("day", utc("2026-04-01"), "Europe/Berlin")
    text = fine.model_dump_json()
    assert ProrationBasis.model_validate_json(text) == fine
    for wrong in ('"hour"', '"Second"'):
        with pytest.raises(ValidationError):
            ProrationBasis.model_validate_json(text.replace('"day"', wrong))
    with pytest.raises(ValidationError, match="IANA name"):
        ProrationBasis.model_validate_json(text.replace("Berlin", "Atlantis"))
