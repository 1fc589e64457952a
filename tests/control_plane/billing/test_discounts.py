"""What coupons take off: exact, never below zero, and the same however they are listed."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.discounts import (
    COUPONS_MAX,
    Discountable,
    DiscountLine,
    discount_lines,
    invoice_line,
)
from control_plane.domain.coupon import Coupon
from control_plane.domain.money import Money
from control_plane.errors import BadInput, Refused


def eur(minor: int) -> Money:
    return Money(minor=minor, currency="EUR")


def charge(index: int, minor: int, plan: str = "team") -> Discountable:
    return Discountable(id=f"line_{index:02}", plan=plan, amount=eur(minor))


def percent(code: str, off: str, plans: tuple[str, ...] = ()) -> Coupon:
    return Coupon(
        code=code, title="Some off", percent_off=Decimal(off), duration="once", plans=plans
    )


def amount(code: str, minor: int, plans: tuple[str, ...] = ()) -> Coupon:
    return Coupon(code=code, title="Some off", amount_off=eur(minor), duration="once", plans=plans)


def taken(lines: tuple[DiscountLine, ...]) -> dict[str, int]:
    counted = Counter[str]()
    for line in lines:
        counted[line.charge] -= line.amount.minor
    return dict(counted)


PLANS = st.sampled_from(["solo", "team"])
CODES = st.from_regex(r"[A-Z0-9]{2,6}", fullmatch=True)
FOR: st.SearchStrategy[tuple[str, ...]] = st.sampled_from([(), ("solo",), ("team",)])
CHARGES = st.lists(st.tuples(st.integers(0, 10**7), PLANS), max_size=12).map(
    lambda drawn: [charge(index, minor, plan) for index, (minor, plan) in enumerate(drawn)]
)
COUPONS = st.lists(
    st.one_of(
        st.tuples(CODES, st.decimals("0.001", 100, places=3), FOR).map(
            lambda drawn: percent(drawn[0], str(drawn[1]), drawn[2])
        ),
        st.tuples(CODES, st.integers(1, 10**7), FOR).map(lambda drawn: amount(*drawn)),
    ),
    max_size=5,
    unique_by=lambda one: one.code,
)


@given(coupons=COUPONS, charges=CHARGES)
def test_no_charge_goes_below_zero_and_every_line_takes_something(
    coupons: list[Coupon], charges: list[Discountable]
) -> None:
    lines = discount_lines(coupons, charges)
    whole = {one.id: one.amount.minor for one in charges}
    assert all(line.amount.minor < 0 for line in lines)
    assert all(minor <= whole[name] for name, minor in taken(lines).items())


@given(coupons=COUPONS, charges=CHARGES, data=st.data())
def test_no_order_of_coupons_or_charges_changes_anything(
    coupons: list[Coupon], charges: list[Discountable], data: st.DataObject
) -> None:
    other = discount_lines(data.draw(st.permutations(coupons)), data.draw(st.permutations(charges)))
    assert other == discount_lines(coupons, charges)


@given(off=st.integers(1, 10_000), charges=CHARGES)
def test_a_percentage_of_the_whole_is_rounded_once(off: int, charges: list[Discountable]) -> None:
    coupon = percent("TEST", str(Decimal(off) / 100))
    whole = sum(one.amount.minor for one in charges)
    expected = (2 * whole * off + 10_000) // 20_000  # halves away from zero
    assert sum(taken(discount_lines([coupon], charges)).values()) == expected


@given(off=st.integers(1, 10**8), charges=CHARGES)
def test_an_amount_is_taken_whole_or_up_to_what_there_is(
    off: int, charges: list[Discountable]
) -> None:
    whole = sum(one.amount.minor for one in charges)
    lines = discount_lines([amount("TEST", off)], charges)
    assert sum(taken(lines).values()) == min(off, whole)


@given(coupons=COUPONS, charges=CHARGES)
def test_a_coupon_takes_nothing_off_a_plan_that_it_is_not_for(
    coupons: list[Coupon], charges: list[Discountable]
) -> None:
    plan_of = {one.id: one.plan for one in charges}
    held = {one.code: one for one in coupons}
    lines = discount_lines(coupons, charges)
    assert all(held[line.coupon].is_for(plan_of[line.charge]) for line in lines)


def test_percentages_come_before_amounts() -> None:
    lines = discount_lines([amount("AAA", 1_000), percent("ZZZ", "50")], [charge(0, 10_000)])
    assert [(line.coupon, line.amount.minor) for line in lines] == [
        ("ZZZ", -5_000),
        ("AAA", -1_000),
    ]


def test_several_percentages_each_take_of_what_is_left() -> None:
    lines = discount_lines([percent("BB", "50"), percent("AA", "10")], [charge(0, 1_000)])
    assert [(line.coupon, line.amount.minor) for line in lines] == [("AA", -100), ("BB", -450)]


def test_parts_of_a_percentage_never_miss_a_cent() -> None:
    charges = [charge(index, 3) for index in range(3)]
    lines = discount_lines([percent("TEST", "19")], charges)
    # Each by itself is 0.57, so 1; the three together are 1.71, so 2.
    assert taken(lines) == {"line_00": 1, "line_02": 1}


def test_an_amount_is_shared_out_by_size() -> None:
    lines = discount_lines([amount("TEST", 300)], [charge(0, 1_000), charge(1, 2_000)])
    assert taken(lines) == {"line_00": 100, "line_01": 200}


def test_a_discount_becomes_the_same_line_of_an_invoice_each_time() -> None:
    (discount,) = discount_lines([percent("TEST", "20")], [charge(0, 1_000)])
    line = invoice_line("invoice_1", discount)
    assert (line.kind, line.amount_minor, line.currency) == ("discount", -200, "EUR")
    assert line.description == "Some off (TEST)"
    assert line == invoice_line("invoice_1", discount)


def test_nothing_is_taken_off_nothing() -> None:
    assert discount_lines([amount("TEST", 300)], []) == ()
    assert discount_lines([], [charge(0, 1)]) == ()
    assert discount_lines([amount("TEST", 300)], [charge(0, 0)]) == ()


def test_a_charge_below_zero_is_none() -> None:
    with pytest.raises(ValidationError):
        charge(0, -1)


def test_what_stands_twice_or_is_too_much_is_bad_input() -> None:
    one = percent("TEST", "20")
    with pytest.raises(BadInput):
        discount_lines([one, one], [])
    with pytest.raises(BadInput):
        discount_lines([], [charge(0, 1), charge(0, 1)])
    with pytest.raises(BadInput):
        discount_lines([percent(f"TEST{index}", "1") for index in range(COUPONS_MAX + 1)], [])


def test_currencies_are_never_mixed() -> None:
    dollars = Discountable(id="line_99", plan="team", amount=Money(minor=1, currency="USD"))
    with pytest.raises(Refused) as caught:
        discount_lines([], [charge(0, 1), dollars])
    assert caught.value.code == "two_currencies"
    with pytest.raises(Refused) as caught:
        discount_lines([amount("TEST", 1)], [dollars])
    assert caught.value.code == "coupon_currency"


@pytest.mark.sweep
@settings(max_examples=2_000, deadline=None)
@given(coupons=COUPONS, charges=CHARGES, shuffled=st.randoms(use_true_random=False))
def test_many_coupons_over_many_charges_stay_exact(
    coupons: list[Coupon], charges: list[Discountable], shuffled: Random
) -> None:
    lines = discount_lines(coupons, charges)
    whole = {one.id: one.amount.minor for one in charges}
    assert all(0 < minor <= whole[name] for name, minor in taken(lines).items())
    shuffled.shuffle(coupons)
    shuffled.shuffle(charges)
    assert discount_lines(coupons, charges) == lines
