"""Prices, and what a quantity costs at one. Not which plan has which price, or a part of a period.

Every amount is in minor units: whole for what is due at once, and for one unit a decimal with up to
nine places, as text. The parts of a line are added exactly and rounded once.

Of `flat`, `per_seat`, `tiered` and `package`, more never costs less. Of `volume` it may: its tiers
price the whole quantity, and the next tier may be cheaper.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from control_plane.domain.money import MINOR_MAX, Currency, Money, round_money
from control_plane.errors import BadInput, Refused

PLACES_MAX = 9
TIERS_MAX = 100
CURRENCIES_MAX = 200

_DIGITS_MAX = 40  # before and after the point, of a number that is looked at at all
_EXACT = Context(prec=_DIGITS_MAX)
_PLAIN = re.compile(r"(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?")
_TEXT_SCHEMA = {"type": "string", "pattern": f"^{_PLAIN.pattern}$"}
# As Python itself, and so canonical JSON, writes what is below a millionth: it must be read again.
_SMALL = re.compile(r"[1-9](\.[0-9]{1,2})?E-[7-9]")


def _number(value: object) -> Decimal:
    # By text, because arithmetic on decimals rounds to a precision that the process sets.
    match value:
        case bool():
            raise ValueError("must be a number as text")
        case str() if _SMALL.fullmatch(value):
            text = format(Decimal(value), "f")
        case int() | str():
            text = str(value)
        case Decimal() if value.is_finite() and abs(value.adjusted()) <= _DIGITS_MAX:
            text = _shortest(format(value, "f"))
        case _:
            raise ValueError("must be a number as text")
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"must be 0 or more, in plain digits with at most {PLACES_MAX} places")
    return Decimal(_shortest(text))


def _shortest(text: str) -> str:
    # One spelling a number: a zero at its end must not change a digest.
    return text.rstrip("0").removesuffix(".") if "." in text else text


def _plain_text(number: Decimal) -> str:
    return format(number, "f")


Quantity: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(_number),
    PlainSerializer(_plain_text, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _TEXT_SCHEMA]}),
]
UnitAmount: TypeAlias = Quantity
WholeAmount: TypeAlias = Annotated[int, Field(ge=0, le=MINOR_MAX)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Priced(_Strict):
    currency: Currency = Field(description="ISO 4217.")
    minimum_minor: WholeAmount = Field(
        default=0, description="What a period costs at least, in minor units."
    )


class Flat(_Priced):
    """One amount a period, whatever the quantity."""

    model: Literal["flat"] = Field(description="One amount a period.")
    amount_minor: WholeAmount = Field(description="The amount, in minor units.")


class PerSeat(_Priced):
    """The same amount for each of a whole number of seats."""

    model: Literal["per_seat"] = Field(description="The same for each of a whole number.")
    unit_amount_minor: UnitAmount = Field(description="Of one, in minor units.")


class Package(_Priced):
    """An amount for every package begun: of 1,001 units in packages of 1,000, two."""

    model: Literal["package"] = Field(description="An amount for every package begun.")
    package_units: Annotated[Quantity, Field(gt=0, description="How many units a package has.")]
    package_amount_minor: UnitAmount = Field(description="Of a package, in minor units.")


class Tier(_Strict):
    """The units above the tier before, up to and with `up_to`; None is without end.

    `amount_minor` is due once as soon as a unit falls into the tier.
    """

    up_to: Annotated[Quantity, Field(gt=0)] | None = Field(
        description="The last unit of the tier; null for the last tier."
    )
    unit_amount_minor: UnitAmount = Field(
        default=Decimal(0), description="Of one unit, in minor units."
    )
    amount_minor: WholeAmount = Field(
        default=0, description="Due once when a unit falls into the tier, in minor units."
    )


def _ascending(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    *bounded, last = (tier.up_to for tier in tiers)
    if last is not None:
        raise ValueError("the last tier has no end")
    ends = [end for end in bounded if end is not None]
    if len(ends) != len(bounded):
        raise ValueError("only the last tier has no end")
    if any(later <= earlier for earlier, later in pairwise(ends)):
        raise ValueError("tiers ascend")
    return tiers


Tiers: TypeAlias = Annotated[
    tuple[Tier, ...], Field(min_length=1, max_length=TIERS_MAX), AfterValidator(_ascending)
]


class Tiered(_Priced):
    """Graduated: each unit costs what its own tier says."""

    model: Literal["tiered"] = Field(description="Each unit as its own tier says.")
    tiers: Tiers = Field(description="In ascending order; the last one is without end.")


class Volume(_Priced):
    """Every unit costs what the tier of the whole quantity says."""

    model: Literal["volume"] = Field(description="Every unit as the whole quantity's tier says.")
    tiers: Tiers = Field(description="In ascending order; the last one is without end.")


Price: TypeAlias = Annotated[
    Flat | PerSeat | Package | Tiered | Volume, Field(discriminator="model")
]


def is_free(price: Price) -> bool:
    """Whether it costs nothing, whatever the quantity."""
    if price.minimum_minor:
        return False
    match price:
        case Flat():
            return not price.amount_minor
        case PerSeat():
            return not price.unit_amount_minor
        case Package():
            return not price.package_amount_minor
        case Tiered() | Volume():
            return not any(one.unit_amount_minor or one.amount_minor for one in price.tiers)


def _each_currency_once(prices: tuple[Price, ...]) -> tuple[Price, ...]:
    if len({price.currency for price in prices}) != len(prices):
        raise ValueError("each currency stands only once")
    return tuple(sorted(prices, key=lambda price: price.currency))


class PriceList(_Strict):
    """One price in each currency that is offered; none is ever converted into another."""

    prices: Annotated[
        tuple[Price, ...],
        Field(min_length=1, max_length=CURRENCIES_MAX),
        AfterValidator(_each_currency_once),
    ] = Field(description="One in each currency; none is ever converted into another.")

    def in_currency(self, currency: str) -> Price:
        """The price in that currency; Refused if there is none."""
        for price in self.prices:
            if price.currency == currency:
                return price
        raise Refused(
            "there is no price in that currency",
            code="currency_not_offered",
            rule="price.currency",
        )


class Part(_Strict):
    """A share of a line: so many units of one tier (from 0), and what they add to its amount."""

    tier: int = Field(ge=0)
    quantity: Quantity
    amount: Money


class PricedLine(_Strict):
    """What a quantity costs. `parts` and `top_up` (to the minimum) sum exactly to `amount`."""

    quantity: Quantity
    parts: tuple[Part, ...]
    top_up: Money
    amount: Money


def price_line(price: Price, quantity: Decimal | int) -> PricedLine:
    """What `quantity` costs for one whole period, and what it is made of.

    Zero costs the minimum, and what is flat. A part is the difference of two rounded cumulatives:
    parts never miss a cent of the line. BadInput for a quantity below zero, of more than nine
    places or 10^15, or seats that are not whole; and for an amount beyond the exact range.
    """
    units = _checked(price, quantity)
    exact, done, parts = Fraction(0), 0, list[Part]()
    for tier, taken, cost in _costs(price, units):
        exact += cost
        upto = _within(round_money(exact))
        parts.append(Part(tier=tier, quantity=taken, amount=_money(price, upto - done)))
        done = upto
    top_up = max(0, price.minimum_minor - done)
    return PricedLine(
        quantity=units,
        parts=tuple(parts),
        top_up=_money(price, top_up),
        amount=_money(price, done + top_up),
    )


def amount(price: Price, quantity: Decimal | int) -> Money:
    """What `quantity` costs for one whole period. BadInput as `price_line`."""
    return price_line(price, quantity).amount


def _checked(price: Price, quantity: Decimal | int) -> Decimal:
    try:
        units = _number(quantity)
    except ValueError as error:
        raise BadInput("quantity", str(error)) from None
    if price.model == "per_seat" and units != int(units):
        raise BadInput("quantity", "must be a whole number of seats")
    return units


def _costs(price: Price, units: Decimal) -> list[tuple[int, Decimal, Fraction]]:
    """Tier, units in it and their exact cost, for each part that the quantity has."""
    match price:
        case Flat():
            return [(0, units, Fraction(price.amount_minor))]
        case PerSeat():
            return [(0, units, Fraction(units) * Fraction(price.unit_amount_minor))]
        case Package():
            begun = -(-Fraction(units) // Fraction(price.package_units))
            return [(0, units, begun * Fraction(price.package_amount_minor))]
        case Tiered():
            return _graduated(price.tiers, units)
        case Volume():
            index, tier = next(
                (index, tier)
                for index, tier in enumerate(price.tiers)
                if tier.up_to is None or units <= tier.up_to
            )
            return [(index, units, _tier_cost(tier, Fraction(units)))]


def _graduated(tiers: tuple[Tier, ...], units: Decimal) -> list[tuple[int, Decimal, Fraction]]:
    parts: list[tuple[int, Decimal, Fraction]] = []
    start = Decimal(0)
    for index, tier in enumerate(tiers):
        if units <= start:
            break
        end = units if tier.up_to is None else min(units, tier.up_to)
        taken = _EXACT.subtract(end, start)
        parts.append((index, taken, _tier_cost(tier, Fraction(taken))))
        start = end
    return parts


def _tier_cost(tier: Tier, units: Fraction) -> Fraction:
    # A tier that no unit falls into costs nothing, its one amount neither.
    return units * Fraction(tier.unit_amount_minor) + (tier.amount_minor if units else 0)


def _within(minor: int) -> int:
    if minor > MINOR_MAX:
        raise BadInput("quantity", f"must cost at most {MINOR_MAX}")
    return minor


def _money(price: Price, minor: int) -> Money:
    return Money(minor=minor, currency=price.currency)
