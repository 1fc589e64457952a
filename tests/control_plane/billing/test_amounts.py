"""Amounts, quantities and days as text: exact, in the places of their currency, by the customer's days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing.amounts import (
    MINUS,
    amount_text,
    day_text,
    instant_text,
    money_text,
    quantity_text,
    span_text,
    unit_price_text,
)
from control_plane.domain.money import MINOR_MAX, Money, exponent


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "USD", "0.00"),
        (5, "USD", "0.05"),
        (123_450, "USD", "1,234.50"),
        (-123_450, "USD", f"{MINUS}1,234.50"),
        (-5, "USD", f"{MINUS}0.05"),
        (0, "JPY", "0"),
        (1_234_567, "JPY", "1,234,567"),
        (1_234_567, "BHD", "1,234.567"),
        (7, "BHD", "0.007"),
        (12_345, "CLF", "1.2345"),
        (MINOR_MAX, "EUR", "90,071,992,547,409.91"),
    ],
)
def test_an_amount_has_the_places_of_its_currency(minor: int, currency: str, text: str) -> None:
    money = Money(minor=minor, currency=currency)
    assert amount_text(money) == text
    assert money_text(money) == f"{currency} {text}"


@given(
    minor=st.integers(-MINOR_MAX, MINOR_MAX), currency=st.sampled_from(["JPY", "USD", "BHD", "CLF"])
)
def test_an_amount_reads_back_as_what_it_was(minor: int, currency: str) -> None:
    text = amount_text(Money(minor=minor, currency=currency))
    read = Decimal(text.replace(",", "").replace(MINUS, "-"))
    assert read.scaleb(exponent(currency)) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        ("4900", "EUR", "49.00"),
        ("0.012", "EUR", "0.00012"),
        ("1234567.5", "EUR", "12,345.675"),
        ("100", "JPY", "100"),
        ("0.5", "JPY", "0.5"),
        ("1500", "BHD", "1.500"),
        ("1E-9", "EUR", "0.00000000001"),
        ("1E+3", "EUR", "10.00"),
        ("-250", "EUR", f"{MINUS}2.50"),
    ],
)
def test_a_unit_price_has_at_least_the_places_of_its_currency(
    minor: str, currency: str, text: str
) -> None:
    assert unit_price_text(Decimal(minor), currency) == text


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        ("1", "1"),
        ("1200", "1,200"),
        ("0.50", "0.5"),
        ("1E+3", "1,000"),
        ("0", "0"),
        ("-3", f"{MINUS}3"),
        ("1E+60", "1E+60"),
        ("1E-60", "1E-60"),
    ],
)
def test_a_quantity_has_every_place_that_says_something(quantity: str, text: str) -> None:
    assert quantity_text(Decimal(quantity)) == text


def test_days_are_those_of_the_customers_zone() -> None:
    late = datetime(2026, 4, 30, 22, 30, tzinfo=UTC)
    assert day_text(late, "UTC") == "30 Apr 2026"
    assert day_text(late, "Europe/Berlin") == "1 May 2026"
    assert instant_text(late, "Europe/Berlin") == "1 May 2026, 00:30"


def test_a_period_ends_with_its_last_day() -> None:
    start = datetime(2026, 5, 1, tzinfo=UTC)
    assert span_text(start, datetime(2026, 6, 1, tzinfo=UTC), "UTC") == "1 May 2026 to 31 May 2026"
    assert span_text(start, start + timedelta(hours=3), "UTC") == "1 May 2026"
    assert span_text(start, start, "UTC") == "1 May 2026"
