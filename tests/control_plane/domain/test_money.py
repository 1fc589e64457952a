"""Money: exact, one currency at a time, one rounding."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.domain.money import MINOR_MAX, Money, add, exponent, round_money
from control_plane.errors import BadInput, Refused


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [
        ("0", 0),
        ("0.5", 1),
        ("-0.5", -1),
        ("1.5", 2),
        ("2.5", 3),
        ("-2.5", -3),
        ("2.4999999999999999999999999999999999", 2),
        ("-2.4999999999999999999999999999999999", -2),
        ("1E+3", 1000),
        ("-0", 0),
    ],
)
def test_halves_round_away_from_zero(amount: str, rounded: int) -> None:
    assert round_money(Decimal(amount)) == rounded
    assert round_money(Fraction(Decimal(amount))) == rounded


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=9))
def test_rounding_agrees_with_the_decimal_library(amount: Decimal) -> None:
    assert round_money(amount) == int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


@given(st.fractions())
def test_rounding_is_odd_and_never_off_by_more_than_a_half(amount: Fraction) -> None:
    assert round_money(-amount) == -round_money(amount)
    assert abs(round_money(amount) - amount) <= Fraction(1, 2)


@given(st.integers(0, 10**7), st.lists(st.integers(1, 10**6), min_size=1, max_size=12))
def test_differences_of_rounded_cumulatives_sum_to_the_price(price: int, parts: list[int]) -> None:
    total, done = sum(parts), 0
    billed: list[int] = []
    for part in parts:
        before = round_money(Fraction(price * done, total))
        done += part
        billed.append(round_money(Fraction(price * done, total)) - before)
    assert sum(billed) == price


def test_a_float_is_never_money() -> None:
    with pytest.raises(TypeError):
        round_money(0.5)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Money(minor=1.0, currency="USD")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Money(minor=True, currency="USD")


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_an_amount_that_is_not_finite_is_bad_input(amount: str) -> None:
    with pytest.raises(BadInput, match="amount: must be finite"):
        round_money(Decimal(amount))


def test_one_currency_adds() -> None:
    total = add(Money(minor=250, currency="EUR"), Money(minor=-300, currency="EUR"))
    assert total == Money(minor=-50, currency="EUR")


def test_two_currencies_never_add() -> None:
    with pytest.raises(Refused) as caught:
        add(Money(minor=1, currency="EUR"), Money(minor=1, currency="USD"))
    assert caught.value.code == "two_currencies"


def test_a_sum_beyond_the_exact_range_is_bad_input() -> None:
    most = Money(minor=MINOR_MAX, currency="USD")
    with pytest.raises(BadInput):
        add(most, Money(minor=1, currency="USD"))
    with pytest.raises(ValidationError):
        Money(minor=MINOR_MAX + 1, currency="USD")


@pytest.mark.parametrize("currency", ["usd", "US", "USDX", "US1", "", "USD\n", "ÜSD"])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(ValidationError):
        Money(minor=0, currency=currency)


@pytest.mark.parametrize(
    ("currency", "places"), [("JPY", 0), ("KRW", 0), ("USD", 2), ("EUR", 2), ("BHD", 3), ("CLF", 4)]
)
def test_the_currency_says_how_many_places(currency: str, places: int) -> None:
    assert exponent(currency) == places
