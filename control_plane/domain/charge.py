"""What a plan's component costs: a price in each currency, for an interval. Not whether it is taken or paid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from control_plane.domain.prices import PriceList, is_free

Slug: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Feature: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Interval: TypeAlias = Literal["month", "year"]

PLAN: Final = "plan"
SEATS: Final = "seats"
CHARGES_MAX: Final = 400


class Charge(PriceList):
    """The prices of one component for one interval.

    A component is the plan itself, its seats, a meter or an add-on. The plan itself has no
    quantity, and so its prices are flat.
    """

    component: Feature = Field(
        default=PLAN, description="`plan`, `seats`, or the name of a meter or an add-on."
    )
    interval: Interval = Field(description="How often it is due.")

    @model_validator(mode="after")
    def _flat(self) -> Charge:
        if self.component == PLAN and any(one.model != "flat" for one in self.prices):
            raise ValueError("the plan itself has flat prices")
        return self

    @property
    def free(self) -> bool:
        """Whether it costs nothing in any currency, whatever the quantity."""
        return all(is_free(one) for one in self.prices)


def _agree(charges: tuple[Charge, ...]) -> tuple[Charge, ...]:
    # A component that an interval or a currency left out would be had for nothing.
    if len({(one.component, one.interval) for one in charges}) != len(charges):
        raise ValueError("a component and interval stand only once")
    by_component = [
        {one.interval for one in charges if one.component == name} for name in components(charges)
    ]
    if any(intervals != by_component[0] for intervals in by_component):
        raise ValueError("every component has the same intervals")
    currencies = [{price.currency for price in one.prices} for one in charges]
    if any(one != currencies[0] for one in currencies):
        raise ValueError("every component and interval has the same currencies")
    return tuple(sorted(charges, key=lambda one: (one.component, one.interval)))


def components(charges: Iterable[Charge]) -> tuple[str, ...]:
    """The components that have a charge, each once, by name."""
    return tuple(sorted({one.component for one in charges}))


Charges: TypeAlias = Annotated[
    tuple[Charge, ...], Field(max_length=CHARGES_MAX), AfterValidator(_agree)
]
