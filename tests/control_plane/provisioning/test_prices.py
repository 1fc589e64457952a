"""What a stack would cost by a table of prices: exact, additive, and honest about what it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import BadInput
from control_plane.provisioning import prices
from control_plane.provisioning.prices import Price, Quantity, estimate, monthly_minor, parse_prices
from tests.control_plane.provisioning.judged import one

TABLE = parse_prices(
    """
version: "2026-01-31"
currency: USD
free: [thing_free]
types:
  thing_flat: {minor: 40}
  thing_sized:
    size: class
    sizes: {small: 1000, large: 3000}
    unset: small
    quantities:
      - {path: disk, minor_per_hundred: 1150}
    factors:
      - {path: standby, value: "true", times: 2}
    count: many
""",
    "prices.yaml",
)


def cost(kind: str, after: dict[str, Any], **more: Any) -> int:
    return estimate([one(kind, after, **more)], TABLE).monthly_minor


def test_a_resource_is_priced_by_size_quantity_factor_and_count() -> None:
    assert cost("thing_free", {}) == 0
    assert cost("thing_flat", {}) == 40
    assert cost("thing_sized", {"class": "small", "disk": 20}) == 1230
    assert cost("thing_sized", {"disk": 20}) == 1230
    assert cost("thing_sized", {"class": "large", "disk": 1}) == 3012
    assert cost("thing_sized", {"class": "large", "disk": "20", "standby": True}) == 6460
    assert cost("thing_sized", {"class": "large", "disk": 20, "many": 3}) == 9690


@pytest.mark.parametrize(
    ("kind", "after", "more"),
    [
        ("thing_else", {}, {}),
        ("thing_sized", {"class": "huge", "disk": 20}, {}),
        ("thing_sized", {"class": "small"}, {}),
        ("thing_sized", {"class": "small", "disk": 1.5}, {}),
        ("thing_sized", {"class": "small", "disk": True}, {}),
        ("thing_sized", {"class": "small", "disk": -1}, {}),
        ("thing_sized", {"class": "small", "disk": 10**9}, {}),
        ("thing_sized", {"class": "small", "disk": 20, "many": "some"}, {}),
        ("thing_sized", {"disk": 20}, {"unknown": {"class": True}, "given": {"class": {}}}),
    ],
)
def test_what_the_table_cannot_say_is_unpriced_and_adds_nothing(
    kind: str, after: dict[str, Any], more: dict[str, Any]
) -> None:
    found = estimate([one(kind, after, **more), one("thing_flat", {})], TABLE)
    assert found == (40, (kind,))


def test_what_is_deleted_costs_nothing_and_what_is_left_alone_does() -> None:
    gone = one("thing_flat", None, before={}, actions=("delete",))
    kept = one("thing_flat", {}, before={}, actions=("no-op",))
    assert estimate([gone], TABLE) == (0, ())
    assert estimate([kept], TABLE) == (40, ())
    assert estimate([one("thing_else", None, before={}, actions=("delete",))], TABLE) == (0, ())


@given(st.lists(st.tuples(st.sampled_from(["small", "large"]), st.integers(0, 10_000)), max_size=8))
def test_the_estimate_of_a_stack_is_the_sum_of_its_parts(parts: list[tuple[str, int]]) -> None:
    resources = [one("thing_sized", {"class": size, "disk": disk}) for size, disk in parts]
    apart = sum(estimate([resource], TABLE).monthly_minor for resource in resources)
    assert estimate(resources, TABLE).monthly_minor == apart


@given(st.integers(0, 1_000_000), st.integers(0, 10**7), st.integers(1, 4096))
def test_a_quantity_is_rounded_up_exactly_and_never_by_more_than_a_cent(
    many: int, minor_per_hundred: int, divided_by: int
) -> None:
    quantity = Quantity(path="n", minor_per_hundred=minor_per_hundred, divided_by=divided_by)
    found = monthly_minor(one("x", {"n": many}).after, Price(quantities=(quantity,)))
    assert found is not None
    exact = many * minor_per_hundred
    assert exact <= found * 100 * divided_by < exact + 100 * divided_by


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version: soon\ncurrency: USD\nfree: []\ntypes: {}", "version"),
        (
            'version: "2026-01-31"\ncurrency: USD\nfree: []\ntypes: {a: {minor: -1}}',
            "types.a.minor",
        ),
        ('version: "2026-01-31"\ncurrency: USD\nfree: []\ntypes: {a: {cents: 1}}', "types.a.cents"),
        ('version: "2026-01-31"\ncurrency: USD\nfree: [a]\ntypes: {a: {minor: 1}}', "p.yaml"),
        ('version: "2026-01-31"\ncurrency: USD\nfree: [a, a]\ntypes: {}', "p.yaml"),
        (
            'version: "2026-01-31"\ncurrency: USD\nfree: []\ntypes: {a: {minor: 1.5}}',
            "types.a.minor",
        ),
    ],
)
def test_a_wrong_table_is_refused_by_its_place(text: str, place: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_prices(text, "p.yaml")
    assert refused.value.field.endswith(place)


def test_the_shipped_table_is_in_order_and_its_day_is_on_the_page(request: Any) -> None:
    table = prices.shipped_prices()
    assert table.currency == "USD"
    assert not set(table.free) & set(table.types)
    groups: dict[str, list[str]] = {}
    for kind in table.free:
        groups.setdefault(kind.partition("_")[0], []).append(kind)
    assert all(names == sorted(names) for names in groups.values())
    page = Path(request.config.rootpath, "docs", "reference", "plan-facts.md").read_text()
    assert f"of the day {table.version}" in page
