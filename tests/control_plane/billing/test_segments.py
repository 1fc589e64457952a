"""Several changes within a period: not a cent lost or made up, whatever the cuts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate, pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.calendar import MONTHLY, YEARLY, Cycle, period_at
from control_plane.billing.proration import ProrationBasis, factor, share
from control_plane.billing.segments import (
    CHANGES_MAX,
    Line,
    PriceChange,
    change,
    charge,
    period_lines,
    split,
    unused,
)
from control_plane.domain.money import Money, round_money
from control_plane.domain.plans import ProrationMode
from control_plane.errors import BadInput, Refused

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia")
MODES: tuple[ProrationMode, ...] = ("second", "day")
MICRO = timedelta(microseconds=1)
MONTH = datetime(2026, 4, 1, tzinfo=UTC)


def basis(
    mode: ProrationMode = "second",
    zone: str = "UTC",
    start: datetime = MONTH,
    cycle: Cycle = MONTHLY,
) -> ProrationBasis:
    return ProrationBasis(period=period_at(start, cycle, zone, start), mode=mode, zone=zone)


def usd(minor: int) -> Money:
    return Money(minor=minor, currency="USD")


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2026, 4, number, hour, tzinfo=UTC)


def within(whole: ProrationBasis, part: Fraction) -> datetime:
    length = (whole.period.end - whole.period.start) // MICRO
    return whole.period.start + int(part * length) * MICRO


def total(lines: Sequence[Line]) -> int:
    return sum(line.amount.minor for line in lines)


bases = st.builds(
    basis,
    mode=st.sampled_from(MODES),
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 1_000 * 86_400).map(
        lambda seconds: datetime(2009, 6, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    cycle=st.sampled_from([MONTHLY, YEARLY]),
)
prices = st.integers(0, 10**7).map(usd)
parts = st.fractions(0, 1)
cuts = st.lists(parts, max_size=12).map(sorted)
steps = st.lists(st.tuples(parts, prices), max_size=12).map(
    lambda pairs: sorted(pairs, key=lambda pair: pair[0])
)


@settings(deadline=None, max_examples=60)
@given(whole=bases, price=prices, cuts=cuts)
def test_segments_of_a_period_sum_exactly_to_the_price(
    whole: ProrationBasis, price: Money, cuts: list[Fraction]
) -> None:
    segments = split(whole, price, [within(whole, part) for part in cuts])
    assert len(segments) == len(cuts) + 1
    assert all(segment.minor >= 0 for segment in segments)
    assert sum(segment.minor for segment in segments) == price.minor


def test_rounding_each_segment_would_have_lost_a_cent() -> None:
    cuts = [day(11), day(21)]
    assert [one.minor for one in split(basis(), usd(1000), cuts)] == [333, 334, 333]
    assert 3 * round_money(Fraction(1000, 3)) == 999


@settings(deadline=None, max_examples=60)
@given(whole=bases, price=prices, cuts=cuts)
def test_changes_to_the_same_price_bill_the_price(
    whole: ProrationBasis, price: Money, cuts: list[Fraction]
) -> None:
    changes = [PriceChange(at=within(whole, part), price=price) for part in cuts]
    assert total(period_lines(whole, price, changes)) == price.minor


@settings(deadline=None, max_examples=60)
@given(whole=bases, price=prices, steps=steps)
def test_a_period_bills_for_each_segment_its_own_price(
    whole: ProrationBasis, price: Money, steps: list[tuple[Fraction, Money]]
) -> None:
    changes = [PriceChange(at=within(whole, part), price=then) for part, then in steps]
    running = [price, *(one.price for one in changes)]
    cuts = [one.at for one in changes]
    segments = [split(whole, each, cuts)[index].minor for index, each in enumerate(running)]
    lines = period_lines(whole, price, changes)
    assert total(lines) == sum(segments)
    # However far it has come, what was credited never exceeds what was billed.
    assert all(balance >= 0 for balance in accumulate(line.amount.minor for line in lines))


@settings(deadline=None, max_examples=60)
@given(whole=bases, price=prices, other=prices, part=parts)
def test_up_and_down_at_one_instant_nets_to_nothing(
    whole: ProrationBasis, price: Money, other: Money, part: Fraction
) -> None:
    at = within(whole, part)
    lines = period_lines(
        whole, price, [PriceChange(at=at, price=other), PriceChange(at=at, price=price)]
    )
    assert total(lines[1:]) == 0


@pytest.mark.long
@settings(deadline=None, max_examples=60)
@given(
    whole=bases,
    price=prices,
    paid_share=st.fractions(0, 2),
    moments=st.lists(parts, min_size=3, max_size=3).map(sorted),
)
def test_a_credit_never_exceeds_what_was_paid_for_the_unused_time(
    whole: ProrationBasis, price: Money, paid_share: Fraction, moments: list[Fraction]
) -> None:
    since, at, later = (within(whole, part) for part in moments)
    due = charge(whole, price, since).paid.minor
    running = charge(whole, price, since, usd(int(due * paid_share)))
    left = unused(running, at).minor
    assert 0 <= unused(running, later).minor <= left <= min(running.paid.minor, due)
    assert left <= share(price, factor(whole, at)).minor
    # Of what was paid for the whole stretch, the share of its unused part, to the nearest cent.
    begun = factor(whole, since)
    if begun:
        assert left - running.paid.minor * factor(whole, at) / begun < 1
    assert unused(running, whole.period.end).minor == 0


def test_each_line_stands_by_itself_and_a_credit_names_what_it_reverses() -> None:
    changes = [PriceChange(at=day(16), price=usd(2000)), PriceChange(at=day(22), price=usd(500))]
    lines = period_lines(basis(), usd(1000), changes)
    assert [(one.kind, one.amount.minor, one.price.minor, one.reverses) for one in lines] == [
        ("debit", 1000, 1000, None),
        ("credit", -500, 1000, 0),
        ("debit", 1000, 2000, None),
        ("credit", -600, 2000, 2),
        ("debit", 150, 500, None),
    ]
    assert [one.at for one in lines] == [day(1), day(16), day(16), day(22), day(22)]


def test_an_end_is_a_change_to_a_price_of_zero() -> None:
    lines = period_lines(basis(), usd(1000), [PriceChange(at=day(16), price=usd(0))])
    assert [one.amount.minor for one in lines] == [1000, -500, 0]


def test_half_paid_gives_back_half() -> None:
    running = charge(basis(), usd(1000), day(1), usd(500))
    assert unused(running, day(16)) == usd(250)
    back, due, begun = change(running, day(16), usd(2000))
    assert (back.amount, due.amount, begun.paid) == (usd(-250), usd(1000), usd(1000))


def test_a_payment_is_for_the_time_from_its_charge_to_the_periods_end() -> None:
    running = charge(basis(), usd(1000), day(16), usd(250))  # of 500 that were due
    assert unused(running, day(16)) == usd(250)
    assert unused(running, day(22)) == usd(150)


def test_nothing_paid_gives_nothing_back() -> None:
    assert unused(charge(basis(), usd(1000), day(1), usd(0)), day(1)) == usd(0)


def test_what_was_paid_beyond_the_price_is_never_given_back_as_unused() -> None:
    assert unused(charge(basis(), usd(1000), day(1), usd(5000)), day(16)) == usd(500)


def test_by_the_day_a_change_on_the_first_day_gives_all_back() -> None:
    running = charge(basis("day"), usd(1000), day(1))
    assert unused(running, day(1, 23)) == usd(1000)
    assert unused(running, day(2)) == usd(967)


def test_an_order_that_never_happened_is_bad_input() -> None:
    changes = [PriceChange(at=day(16), price=usd(1)), PriceChange(at=day(15), price=usd(2))]
    with pytest.raises(BadInput, match="at: must not lie before the charge began"):
        period_lines(basis(), usd(1000), changes)
    with pytest.raises(BadInput, match="cuts: must be in order"):
        split(basis(), usd(1000), [day(16), day(15)])


def test_order_is_judged_in_time_and_not_on_the_wall() -> None:
    month = basis(zone="Europe/Berlin", start=datetime(2026, 10, 1, tzinfo=UTC))
    first, second = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    local = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in (first, second)]
    assert local[0].replace(tzinfo=None) == local[1].replace(tzinfo=None)
    hour = split(month, usd(10**7), local)[1].minor
    assert hour > 0
    with pytest.raises(BadInput, match="cuts"):
        split(month, usd(10**7), local[::-1])
    with pytest.raises(BadInput, match="before the charge began"):
        unused(charge(month, usd(10**7), local[1]), local[0])


def test_what_lies_outside_of_the_period_is_bad_input() -> None:
    late = datetime(2026, 5, 1, 0, 0, 1, tzinfo=UTC)
    for call in (
        lambda: split(basis(), usd(1), [late]),
        lambda: period_lines(basis(), usd(1), [PriceChange(at=late, price=usd(2))]),
        lambda: charge(basis(), usd(1), late),
    ):
        with pytest.raises(BadInput, match="at: must lie in the period"):
            call()


def test_a_period_has_a_bounded_number_of_changes() -> None:
    many = [PriceChange(at=day(2), price=usd(1))] * (CHANGES_MAX + 1)
    with pytest.raises(BadInput, match="changes: "):
        period_lines(basis(), usd(1000), many)


def test_currencies_are_never_mixed() -> None:
    euro = Money(minor=1, currency="EUR")
    with pytest.raises(Refused):
        change(charge(basis(), usd(1000), day(1)), day(2), euro)
    with pytest.raises(ValidationError, match="one currency"):
        charge(basis(), usd(1000), day(1), euro)


def test_a_payment_below_zero_is_refused() -> None:
    with pytest.raises(ValidationError, match="0 or more"):
        charge(basis(), usd(1000), day(1), usd(-1))


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(10))
def test_of_100_000_random_periods_none_loses_a_cent(seed: int) -> None:
    random = Random(seed)
    months = [
        basis(random.choice(MODES), zone, MONTH + timedelta(days=random.randrange(800)), cycle)
        for zone in ZONES
        for cycle in (MONTHLY, YEARLY)
        for _ in range(10)
    ]
    for _ in range(10_000):
        whole, price = random.choice(months), usd(random.randrange(10 ** random.randint(1, 9)))
        cuts = sorted(
            within(whole, Fraction(random.randrange(10**9), 10**9))
            for _ in range(random.randint(0, 4))
        )
        segments = [one.minor for one in split(whole, price, cuts)]
        assert sum(segments) == price.minor
        assert min(segments) >= 0
        prices = [usd(random.randrange(100_000)) for _ in cuts]
        changes = [PriceChange(at=at, price=one) for at, one in zip(cuts, prices, strict=True)]
        lines = period_lines(whole, price, changes)
        balances = list(accumulate(line.amount.minor for line in lines))
        assert min(balances) >= 0
        left = [factor(whole, at) for at in (whole.period.start, *cuts, whole.period.end)]
        assert balances[-1] == sum(
            share(one, begun).minor - share(one, ended).minor
            for one, (begun, ended) in zip([price, *prices], pairwise(left), strict=True)
        )
