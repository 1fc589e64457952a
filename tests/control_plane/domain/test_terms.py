"""What terms may say, and that what says the same is equal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from control_plane.domain.money import MINOR_MAX, Money
from control_plane.domain.terms import Method, Taken, Terms, money

AT = datetime(2026, 1, 31, tzinfo=UTC)


def test_terms_are_monthly_automatic_and_in_utc_where_nothing_else_is_said() -> None:
    terms = Terms(currency="EUR", anchor_at=AT)
    assert (terms.interval, terms.zone, terms.collection, terms.due_days) == (
        "month",
        "UTC",
        "automatic",
        14,
    )
    assert (terms.seats, terms.add_ons) == (0, ())


def test_add_ons_stand_in_one_order_so_that_equal_terms_are_equal() -> None:
    one, two = Taken(name="a", quantity=1), Taken(name="b", quantity=2)
    left = Terms(currency="EUR", anchor_at=AT, add_ons=(two, one))
    assert left == Terms(currency="EUR", anchor_at=AT, add_ons=(one, two))


def test_an_anchor_is_kept_in_utc() -> None:
    there = Terms(currency="EUR", anchor_at=AT.astimezone(ZoneInfo("Asia/Kathmandu")))
    assert there == Terms(currency="EUR", anchor_at=AT)
    assert there.anchor_at.tzinfo is UTC


@pytest.mark.parametrize(
    "wrong",
    [
        {"currency": "eur"},
        {"interval": "week"},
        {"anchor_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - a naive one is what is refused
        {"collection": "barter"},
        {"due_days": -1},
        {"due_days": 366},
        {"seats": -1},
        {"seats": MINOR_MAX + 1},
        {"zone": ""},
        {"add_ons": (Taken(name="a", quantity=1), Taken(name="a", quantity=2))},
        {"unheard": 1},
    ],
)
def test_terms_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Terms.model_validate({"currency": "EUR", "anchor_at": AT, **wrong})


@pytest.mark.parametrize("quantity", [0, -1, MINOR_MAX + 1])
def test_an_add_on_that_is_taken_is_taken_at_least_once(quantity: int) -> None:
    with pytest.raises(ValidationError):
        Taken(name="support", quantity=quantity)


@pytest.mark.parametrize("reference", ["", "with space", "x" * 121, "bel\x07"])
def test_a_method_is_a_providers_token(reference: str) -> None:
    with pytest.raises(ValidationError):
        Method(provider="sandbox", reference=reference)


def test_an_amount_is_in_the_currency_of_the_terms() -> None:
    terms = Terms(currency="JPY", anchor_at=AT)
    assert money(5, terms) == Money(minor=5, currency="JPY")
