"""What a quantity costs: exact, rounded once, and the models refuse what has no one meaning."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from control_plane.domain import canonical
from control_plane.domain.money import MINOR_MAX, Money, round_money
from control_plane.domain.prices import (
    Flat,
    Package,
    PerSeat,
    Price,
    PricedLine,
    PriceList,
    Tier,
    Tiered,
    Volume,
    amount,
    price_line,
)
from control_plane.errors import BadInput, Refused

PRICE: TypeAdapter[Price] = TypeAdapter(Price)


def read(**fields: object) -> Price:
    """A price as a catalog gives it: through JSON."""
    return PRICE.validate_json(json.dumps({"currency": "USD", **fields}))


def cost(price: Price, quantity: str) -> int:
    return amount(price, Decimal(quantity)).minor


# 1,000 free, to 10,000 at 0.5 cents, then 0.25 cents; entering the third costs 200 once.
GRADES = [
    {"up_to": "1000"},
    {"up_to": "10000", "unit_amount_minor": "0.5"},
    {"up_to": None, "unit_amount_minor": "0.25", "amount_minor": 200},
]
TIERED = read(model="tiered", tiers=GRADES)
VOLUME = read(model="volume", tiers=GRADES)

units = st.decimals(0, 10**9, places=9) | st.integers(0, 10**6).map(Decimal)
unit_amounts = st.decimals(0, 10**4, places=9)
wholes = st.integers(0, 10**6)


def tiers(bounds: list[Decimal], rates: list[tuple[Decimal, int]]) -> tuple[Tier, ...]:
    ends = [*sorted(bounds), None]
    return tuple(
        Tier(up_to=end, unit_amount_minor=rate, amount_minor=once)
        for end, (rate, once) in zip(ends, rates[: len(ends)], strict=True)
    )


tier_lists = st.builds(
    tiers,
    st.lists(st.decimals("0.000000001", 10**7, places=9), max_size=5, unique=True),
    st.lists(st.tuples(unit_amounts, wholes), min_size=6, max_size=6),
)
every: dict[str, st.SearchStrategy[object]] = {"currency": st.just("USD"), "minimum_minor": wholes}
tiered = st.builds(Tiered, model=st.just("tiered"), tiers=tier_lists, **every)
volume = st.builds(Volume, model=st.just("volume"), tiers=tier_lists, **every)
simple = (
    st.builds(Flat, model=st.just("flat"), amount_minor=wholes, **every)
    | st.builds(PerSeat, model=st.just("per_seat"), unit_amount_minor=unit_amounts, **every)
    | st.builds(
        Package,
        model=st.just("package"),
        package_units=st.decimals("0.001", 10**6, places=3),
        package_amount_minor=unit_amounts,
        **every,
    )
)


def fitting(price: Price, quantity: Decimal) -> Decimal:
    """The quantity, whole where seats are counted."""
    return Decimal(int(quantity)) if price.model == "per_seat" else quantity


@pytest.mark.parametrize(
    ("price", "quantity", "minor"),
    [
        (read(model="flat", amount_minor=4900), "0", 4900),
        (read(model="flat", amount_minor=4900), "17", 4900),
        (read(model="flat", amount_minor=0), "17", 0),
        (read(model="per_seat", unit_amount_minor=1500), "0", 0),
        (read(model="per_seat", unit_amount_minor=1500), "3", 4500),
        (read(model="per_seat", unit_amount_minor="333.333333333"), "3", 1000),
        (read(model="package", package_units="1000", package_amount_minor="99.5"), "0", 0),
        (read(model="package", package_units="1000", package_amount_minor="99.5"), "0.1", 100),
        (read(model="package", package_units="1000", package_amount_minor="99.5"), "1000", 100),
        (read(model="package", package_units="1000", package_amount_minor="99.5"), "1001", 199),
        (read(model="package", package_units="0.5", package_amount_minor=1), "1.6", 4),
        (TIERED, "0", 0),
        (TIERED, "1000", 0),
        (TIERED, "1001", 1),
        (TIERED, "10000", 4500),
        (TIERED, "10000.000000001", 4700),
        (TIERED, "10004", 4701),
        (TIERED, "1000000000", 4700 + 249_997_500),
        (VOLUME, "0", 0),
        (VOLUME, "1000", 0),
        (VOLUME, "1001", 501),
        (VOLUME, "10000", 5000),
        (VOLUME, "10001", 2700),
    ],
)
def test_what_a_quantity_costs(price: Price, quantity: str, minor: int) -> None:
    assert cost(price, quantity) == minor


@pytest.mark.parametrize(
    ("fields", "quantity"),
    [
        ({"model": "flat", "amount_minor": 10}, "1"),
        ({"model": "per_seat", "unit_amount_minor": 10}, "0"),
        ({"model": "package", "package_units": 10, "package_amount_minor": 10}, "1"),
        ({"model": "tiered", "tiers": GRADES}, "1500"),
        ({"model": "volume", "tiers": GRADES}, "0"),
    ],
)
def test_every_model_has_a_minimum(fields: dict[str, object], quantity: str) -> None:
    line = price_line(read(**fields, minimum_minor=999), Decimal(quantity))
    assert line.amount.minor == 999
    assert line.top_up.minor == 999 - sum(part.amount.minor for part in line.parts) > 0
    assert cost(read(**fields, minimum_minor=1), "5000") == max(1, cost(read(**fields), "5000"))


def test_a_line_is_rounded_once_and_not_by_the_tier() -> None:
    halves: list[dict[str, object]] = [
        {"up_to": "1", "unit_amount_minor": "0.5"},
        {"up_to": "2", "unit_amount_minor": "0.5"},
        {"up_to": None, "unit_amount_minor": "0.5"},
    ]
    line = price_line(read(model="tiered", tiers=halves), 3)
    assert line.amount.minor == 2  # 1.5, where three rounded halves would be 3
    assert [part.amount.minor for part in line.parts] == [1, 0, 1]


def test_the_parts_of_a_line_name_their_tier_and_units() -> None:
    line = price_line(TIERED, Decimal("10004.5"))
    assert [(part.tier, part.quantity, part.amount.minor) for part in line.parts] == [
        (0, Decimal(1000), 0),
        (1, Decimal(9000), 4500),
        (2, Decimal("4.5"), 201),
    ]
    assert [part.tier for part in price_line(VOLUME, 10_001).parts] == [2]


@settings(deadline=None, max_examples=60)
@given(price=tiered | volume | simple, quantity=units)
def test_parts_and_top_up_sum_exactly_to_the_line(price: Price, quantity: Decimal) -> None:
    line = price_line(price, fitting(price, quantity))
    minors = [part.amount.minor for part in line.parts]
    assert sum(minors) + line.top_up.minor == line.amount.minor >= price.minimum_minor
    assert min([*minors, line.top_up.minor]) >= 0
    assert line.top_up.minor == 0 or line.amount.minor == price.minimum_minor
    assert sum((Fraction(part.quantity) for part in line.parts), Fraction(0)) == line.quantity


@settings(deadline=None, max_examples=60)
@given(price=tiered, quantity=units)
def test_tiered_is_the_sum_of_its_tiers_each_priced_alone(price: Tiered, quantity: Decimal) -> None:
    whole, start, exact = Fraction(quantity), Fraction(0), Fraction(0)
    for tier in price.tiers:
        end = whole if tier.up_to is None else Fraction(tier.up_to)
        inside = max(Fraction(0), min(whole, end) - start)
        exact += inside * Fraction(tier.unit_amount_minor)
        exact += tier.amount_minor if inside > 0 else 0
        start = end
    assert amount(price, quantity).minor == max(price.minimum_minor, round_money(exact))


@settings(deadline=None, max_examples=60)
@given(price=tiered | simple, few=units, more=units)
def test_more_never_costs_less(price: Price, few: Decimal, more: Decimal) -> None:
    low, high = sorted(fitting(price, one) for one in (few, more))
    assert amount(price, low).minor <= amount(price, high).minor


@settings(deadline=None, max_examples=60)
@given(price=volume, few=units, more=units)
def test_of_volume_more_never_costs_less_within_a_tier(
    price: Volume, few: Decimal, more: Decimal
) -> None:
    low, high = sorted((few, more))
    ends = [tier.up_to for tier in price.tiers if tier.up_to is not None]
    if [low <= end for end in ends] == [high <= end for end in ends]:
        assert amount(price, low).minor <= amount(price, high).minor


@settings(deadline=None, max_examples=60)
@given(quantity=units, rate=unit_amounts, once=wholes)
def test_with_one_tier_tiered_and_volume_agree(quantity: Decimal, rate: Decimal, once: int) -> None:
    tier = Tier(up_to=None, unit_amount_minor=rate, amount_minor=once)
    graduated = Tiered(model="tiered", currency="USD", tiers=(tier,))
    by_volume = Volume(model="volume", currency="USD", tiers=(tier,))
    assert amount(graduated, quantity) == amount(by_volume, quantity)


@settings(deadline=None, max_examples=30)
@given(price=tiered | simple | volume, quantity=units)
def test_the_precision_of_the_process_makes_no_difference(price: Price, quantity: Decimal) -> None:
    counted = fitting(price, quantity)
    expected = price_line(price, counted)
    with localcontext() as context:
        context.prec = 3
        assert price_line(price, counted) == expected
        assert PRICE.validate_json(PRICE.dump_json(price)) == price


@settings(deadline=None, max_examples=60)
@given(price=tiered | simple | volume, quantity=units)
def test_what_is_written_is_read_again(price: Price, quantity: Decimal) -> None:
    assert PRICE.validate_json(PRICE.dump_json(price)) == price
    assert PRICE.validate_json(canonical.canonical(price)) == price
    line = price_line(price, fitting(price, quantity))
    assert PricedLine.model_validate_json(line.model_dump_json()) == line
    assert PricedLine.model_validate_json(canonical.canonical(line)) == line


def test_a_small_amount_is_written_in_plain_digits() -> None:
    price = read(model="per_seat", unit_amount_minor="0.000000001")
    assert b'"0.000000001"' in PRICE.dump_json(price)


@pytest.mark.parametrize(
    ("ends", "rule"),
    [
        (["10", "10", None], "tiers ascend"),
        (["10", "9", None], "tiers ascend"),
        (["10", "20"], "the last tier has no end"),
        ([None, None], "only the last tier has no end"),
        ([None, "10", None], "only the last tier has no end"),
        ([None, "10"], "the last tier has no end"),
        ([], "at least 1"),
        (["0", None], "greater than 0"),
    ],
)
@pytest.mark.parametrize("model", ["tiered", "volume"])
def test_tiers_ascend_and_only_the_last_has_no_end(
    model: str, ends: list[str | None], rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule):
        read(model=model, tiers=[{"up_to": end} for end in ends])


@pytest.mark.parametrize(
    "unit_amount",
    [
        "-1",
        -1,
        "-0.000000001",
        "0.0000000001",
        "1234567890123456",
        "1e3",
        "1E+3",
        "1E-10",
        "1.",
        ".5",
        "01",
        "+1",
        " 1",
        "1\n",
        "1_000",
        "1,5",
        "\u0661",
        "NaN",
        "Infinity",
        "",
        0.5,
        1.0,
        True,
        None,
        [],
    ],
    ids=repr,
)
def test_a_unit_amount_is_plain_digits_as_text_or_a_whole_number(unit_amount: object) -> None:
    with pytest.raises(ValidationError, match="must be"):
        read(model="per_seat", unit_amount_minor=unit_amount)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "flat", "amount_minor": -1},
        {"model": "flat", "amount_minor": "1"},
        {"model": "flat", "amount_minor": 1.0},
        {"model": "flat", "amount_minor": MINOR_MAX + 1},
        {"model": "flat", "amount_minor": 1, "minimum_minor": -1},
        {"model": "flat", "amount_minor": 1, "currency": "usd"},
        {"model": "flat", "amount_minor": 1, "tiers": GRADES},
        {"model": "flat"},
        {"model": "stairs", "amount_minor": 1},
        {"amount_minor": 1},
        {"model": "package", "package_units": "0", "package_amount_minor": 1},
        {"model": "tiered", "tiers": [{"up_to": None, "amount_minor": -1}]},
        {"model": "tiered", "tiers": [{"unit_amount_minor": "1"}]},
        {"model": "tiered", "tiers": [{"up_to": "1"}] * 101},
    ],
)
def test_a_price_is_read_strictly(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        read(**fields)


def test_one_price_has_one_digest_however_its_numbers_are_written() -> None:
    written = [read(model="per_seat", unit_amount_minor=text) for text in ("1500", 1500, "1500.00")]
    assert len({canonical.digest(price) for price in written}) == 1
    given = PerSeat(model="per_seat", currency="USD", unit_amount_minor=Decimal("1.5E+3"))
    assert given == written[0]
    assert canonical.canonical(given) == (
        b'{"currency":"USD","minimum_minor":0,"model":"per_seat","unit_amount_minor":"1500"}'
    )


@pytest.mark.parametrize(
    "quantity",
    ["-1", "-0.1", "NaN", "Infinity", "1E-10", "1E+15", "1E+999999999999999", "1E-999999999999999"],
)
def test_a_quantity_is_zero_or_more_and_of_bounded_length(quantity: str) -> None:
    with pytest.raises(BadInput, match="quantity: must be") as caught:
        amount(TIERED, Decimal(quantity))
    assert quantity not in str(caught.value)


def test_a_float_or_a_truth_value_is_no_quantity() -> None:
    for quantity in (1.5, True):
        with pytest.raises(BadInput, match="quantity"):
            amount(TIERED, quantity)  # type: ignore[arg-type]


def test_seats_are_whole() -> None:
    price = read(model="per_seat", unit_amount_minor=1500)
    assert cost(price, "2.000") == 3000
    with pytest.raises(BadInput, match="whole number of seats"):
        cost(price, "2.5")


def test_an_amount_beyond_the_exact_range_is_bad_input() -> None:
    price = read(model="per_seat", unit_amount_minor="100000")
    with pytest.raises(BadInput, match=f"quantity: must cost at most {MINOR_MAX}"):
        cost(price, "999999999999999")


def test_minor_units_are_the_currencys_own() -> None:
    yen = read(model="per_seat", unit_amount_minor="0.5", currency="JPY")
    assert amount(yen, 3) == Money(minor=2, currency="JPY")


def test_a_price_list_has_one_price_a_currency_and_converts_none() -> None:
    dollars, euros = (
        read(model="flat", amount_minor=minor, currency=currency)
        for minor, currency in ((4900, "USD"), (4500, "EUR"))
    )
    offered = PriceList(prices=(dollars, euros))
    assert offered.in_currency("EUR") is euros
    with pytest.raises(Refused) as caught:
        offered.in_currency("JPY")
    assert (caught.value.code, caught.value.rule) == ("currency_not_offered", "price.currency")
    with pytest.raises(ValidationError, match="only once"):
        PriceList(prices=(dollars, dollars))
    with pytest.raises(ValidationError, match="at least 1"):
        PriceList(prices=())


@pytest.mark.sweep
@settings(deadline=None, max_examples=3_000)
@given(price=tiered | simple, quantities=st.lists(units, min_size=2, max_size=6))
def test_over_many_prices_more_never_costs_less(price: Price, quantities: list[Decimal]) -> None:
    ordered = sorted(fitting(price, one) for one in quantities)
    lines = [price_line(price, one) for one in ordered]
    amounts = [line.amount.minor for line in lines]
    assert amounts == list(accumulate(amounts, max))
    for line in lines:
        parts = sum(part.amount.minor for part in line.parts)
        assert parts + line.top_up.minor == line.amount.minor
