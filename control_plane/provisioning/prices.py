"""What the resources of a plan would cost a month, by a table of prices. No invoice, and no usage: see prices.yaml.

Pure and exact: integers of the currency's minor unit, and the same plan and table give the same figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.domain.canonical import canonical
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput
from control_plane.provisioning.planned import UNSET, Part, Planned

_FILE: Final = Path(__file__).with_name("prices.yaml")
_QUANTITY_MAX: Final = 1_000_000
_HUNDRED: Final = 100


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quantity(_Strict):
    """What is priced by how much of it there is: gigabytes, nodes, hours of a processor.

    `minor_per_hundred` is the price of a hundred units a month, so that it stays an integer.
    `unset` is how many the provider makes where nothing is said; without it there is no price then.
    """

    path: str
    minor_per_hundred: int = Field(ge=0)
    unset: int | None = Field(default=None, ge=0)
    divided_by: int = Field(default=1, ge=1)


class Factor(_Strict):
    """What the price is multiplied by where the value at a path is this one, as a high standby is."""

    path: str
    value: str
    times: int = Field(ge=1, le=16)


class Price(_Strict):
    """What one resource of a type costs a month, in minor units.

    `minor` always; the entry of `sizes` that the value at `size` names; each quantity; all of it
    times each factor that applies, and times the number at `count`. `unset` names the size where
    nothing is said.
    """

    minor: int = Field(default=0, ge=0)
    size: str = ""
    sizes: Mapping[str, int] = Field(default_factory=dict[str, int])
    unset: str = ""
    quantities: tuple[Quantity, ...] = ()
    factors: tuple[Factor, ...] = ()
    count: str = ""


class PriceTable(_Strict):
    """Prices by resource type, as of the day that is the table's version."""

    version: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    free: tuple[str, ...]
    types: Mapping[str, Price]


class Estimate(NamedTuple):
    """The sum in minor units a month, and the types of which a resource has no price."""

    monthly_minor: int
    unpriced: tuple[str, ...]


def parse_prices(text: str, file_name: str) -> PriceTable:
    """The table in a YAML text. BadInput names the file and the first wrong field."""
    try:
        table = PriceTable.model_validate_json(canonical(parse_yaml(text, file_name)))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadInput(f"{file_name}: {place}", "breaks the table's form") from None
    twice = sorted(set(table.free) & set(table.types))
    if twice or len(set(table.free)) != len(table.free):
        raise BadInput(file_name, "a type stands only once")
    return table


@cache
def shipped_prices() -> PriceTable:
    """The table that Paybill ships."""
    return parse_prices(_FILE.read_text(encoding="utf-8"), _FILE.name)


def estimate(resources: Iterable[Planned], table: PriceTable) -> Estimate:
    """What everything that stands afterwards costs, also what the plan leaves alone.

    A type that the table does not know, or a size of it, adds nothing and is named: the sum is then
    less than what it will be.
    """
    total = 0
    unpriced: set[str] = set()
    free = frozenset(table.free)
    for one in resources:
        if not one.stands or one.type in free:
            continue
        price = table.types.get(one.type)
        monthly = None if price is None else monthly_minor(one.after, price)
        if monthly is None:
            unpriced.add(one.type)
        else:
            total += monthly
    return Estimate(total, tuple(sorted(unpriced)))


def monthly_minor(part: Part, price: Price) -> int | None:
    """What one resource costs a month, rounded up for each quantity; None where the table cannot say."""
    total = price.minor
    if price.size:
        (size, *_others) = part.values(price.size)
        named = price.sizes.get(price.unset if size is UNSET else str(size))
        if named is None:
            return None
        total += named
    for quantity in price.quantities:
        many = _many(part, quantity)
        if many is None:
            return None
        total += -(-many * quantity.minor_per_hundred // (_HUNDRED * quantity.divided_by))
    for factor in price.factors:
        if any(_text(value) == factor.value for value in part.values(factor.path)):
            total *= factor.times
    times = _number(part.values(price.count)[0], 1) if price.count else 1
    return None if times is None else total * times


def _many(part: Part, quantity: Quantity) -> int | None:
    numbers = [_number(value, quantity.unset) for value in part.values(quantity.path)]
    known = [one for one in numbers if one is not None]
    return sum(known) if len(known) == len(numbers) else None


def _number(value: Any, unset: int | None) -> int | None:
    if value is UNSET:
        return unset
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, str) and value.isascii() and value.isdigit()):
        return None
    number = int(value)
    return number if 0 <= number <= _QUANTITY_MAX else None


def _text(value: Any) -> str:
    return "true" if value is True else str(value).lower()
