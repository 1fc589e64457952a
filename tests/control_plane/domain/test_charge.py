"""What components cost: the same intervals and currencies for all, and flat for the plan itself."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from control_plane.domain.charge import Charge, Charges, components
from control_plane.domain.prices import Price, is_free

CHARGES: TypeAdapter[tuple[Charge, ...]] = TypeAdapter(Charges)
PRICE: TypeAdapter[Price] = TypeAdapter(Price)


def flat(currency: str = "USD", amount_minor: int = 500) -> dict[str, Any]:
    return {"model": "flat", "currency": currency, "amount_minor": amount_minor}


def charge(component: str, interval: str, *prices: dict[str, Any]) -> dict[str, Any]:
    return {"component": component, "interval": interval, "prices": list(prices)}


def read(*charges: dict[str, Any]) -> tuple[Charge, ...]:
    return CHARGES.validate_python(charges, strict=False)


def both(component: str) -> list[dict[str, Any]]:
    return [charge(component, interval, flat("USD"), flat("EUR")) for interval in ("year", "month")]


def test_the_order_of_the_file_says_nothing() -> None:
    declared = [*both("plan"), *both("seats")]
    found = {read(*one) for one in permutations(declared)}
    assert len(found) == 1
    (charges,) = found
    assert [(one.component, one.interval) for one in charges] == [
        ("plan", "month"),
        ("plan", "year"),
        ("seats", "month"),
        ("seats", "year"),
    ]
    assert [price.currency for price in charges[0].prices] == ["EUR", "USD"]
    assert components(charges) == ("plan", "seats")


def test_a_charge_is_of_the_plan_itself_unless_it_names_a_component() -> None:
    (found,) = read({"interval": "month", "prices": [flat()]})
    assert found.component == "plan"


@pytest.mark.parametrize(
    ("charges", "rule"),
    [
        ([charge("plan", "month", flat()), charge("plan", "month", flat())], "only once"),
        ([*both("plan"), both("seats")[0]], "the same intervals"),
        (
            [charge("plan", "month", flat()), charge("plan", "year", flat("EUR"))],
            "the same currencies",
        ),
        (
            [charge("plan", "month", flat()), charge("seats", "month", flat(), flat("EUR"))],
            "the same currencies",
        ),
        (
            [
                charge(
                    "plan",
                    "month",
                    {"model": "per_seat", "currency": "USD", "unit_amount_minor": "1"},
                )
            ],
            "flat prices",
        ),
        ([charge("plan", "month", flat(), flat())], "currency stands only once"),
        ([charge("plan", "month")], "at least 1"),
        ([charge("plan", "week", flat())], "'month' or 'year'"),
        ([charge("Plan", "month", flat())], "pattern"),
    ],
)
def test_what_a_component_would_be_had_for_nothing_by_is_refused(
    charges: list[dict[str, Any]], rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule):
        read(*charges)


PRICES: list[dict[str, Any]] = [
    {"model": "flat", "amount_minor": 0},
    {"model": "per_seat", "unit_amount_minor": "0"},
    {"model": "package", "package_units": "10", "package_amount_minor": 0},
    {"model": "tiered", "tiers": [{"up_to": 5}, {"up_to": None}]},
    {"model": "volume", "tiers": [{"up_to": None, "unit_amount_minor": "0.0"}]},
]
COSTS: list[dict[str, Any]] = [
    {"model": "flat", "amount_minor": 1},
    {"model": "per_seat", "unit_amount_minor": "0.000000001"},
    {"model": "package", "package_units": "10", "package_amount_minor": 1},
    {"model": "tiered", "tiers": [{"up_to": 5}, {"up_to": None, "amount_minor": 1}]},
    {"model": "volume", "tiers": [{"up_to": None, "unit_amount_minor": "0.1"}]},
    *({**one, "minimum_minor": 1} for one in PRICES),
]


@pytest.mark.parametrize(
    ("price", "free"), [*((one, True) for one in PRICES), *((one, False) for one in COSTS)]
)
def test_a_price_is_free_when_no_quantity_costs_anything(price: dict[str, Any], free: bool) -> None:
    assert is_free(PRICE.validate_python({"currency": "USD", **price}, strict=False)) is free


def test_a_charge_is_free_when_it_is_so_in_every_currency() -> None:
    free = flat("USD", 0)
    assert read(charge("plan", "month", free, flat("EUR", 0)))[0].free
    assert not read(charge("plan", "month", free, flat("EUR", 1)))[0].free
