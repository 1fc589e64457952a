"""Money as integer minor units with a currency, and the one rounding. Not prices or proration."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.errors import BadInput, Refused

Currency: TypeAlias = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]

MINOR_MAX = 2**53 - 1  # beyond it a JSON number is no longer exact

_EXPONENT_DEFAULT = 2
_EXPONENTS = {
    code: places
    for places, codes in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
        3: "BHD IQD JOD KWD LYD OMR TND",
        4: "CLF UYW",
    }.items()
    for code in codes.split()
}


class Money(BaseModel):
    """An amount in minor units (cents, yen, fils) of one ISO 4217 currency; may be negative."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    minor: int = Field(ge=-MINOR_MAX, le=MINOR_MAX, description="In minor units.")
    currency: Currency = Field(description="ISO 4217.")


def exponent(currency: str) -> int:
    """How many decimal places the currency's minor unit has (ISO 4217): JPY 0, USD 2, BHD 3."""
    return _EXPONENTS.get(currency, _EXPONENT_DEFAULT)


def add(left: Money, right: Money) -> Money:
    """The sum. Refused for two currencies; BadInput when it leaves the exact range."""
    if left.currency != right.currency:
        raise Refused(
            "amounts in two currencies are never added",
            code="two_currencies",
            rule="money.currency",
        )
    minor = left.minor + right.minor
    if abs(minor) > MINOR_MAX:
        raise BadInput("minor", f"must lie within {MINOR_MAX} of zero")
    return Money(minor=minor, currency=left.currency)


def round_money(amount: Decimal | Fraction) -> int:
    """An exact amount in minor units to the nearest integer, halves away from zero.

    TypeError for a float, which is not exact; BadInput for an amount that is not finite.
    """
    match amount:
        case Decimal() if not amount.is_finite():
            raise BadInput("amount", "must be finite")
        case Decimal() | Fraction():
            exact = Fraction(amount)
        case _:
            raise TypeError("round_money takes a Decimal or a Fraction")
    size = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return size if exact >= 0 else -size
