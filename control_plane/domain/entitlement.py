"""What a plan or an add-on grants, as a catalog declares it. Not whether a tenant may do something now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.charge import PLAN, SEATS, Feature
from control_plane.domain.prices import Quantity

ENTITLEMENTS_MAX = 200

GRACE_HOURS_MAX = 24 * 90


class _Entitlement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    feature: Feature = Field(description="What an entitlement check names.")


class BooleanEntitlement(_Entitlement):
    """A feature that is there or not. One that is not declared is not there."""

    kind: Literal["boolean"] = Field(description="A feature that is there or not.")
    granted: bool = Field(default=True, description="Whether it is there.")


class StaticEntitlement(_Entitlement):
    """A number that bounds each single use, as the size of a file."""

    kind: Literal["static"] = Field(description="A number that bounds each single use.")
    value: Quantity = Field(description="The most that one use may have.")


class MeteredEntitlement(_Entitlement):
    """How much of a meter, called as the feature, may be held in all. Without a limit: any.

    Limits are as in disk quotas: the hard one is never passed. The soft one may be, with a warning:
    for `grace_hours` from when it is passed, or for good where there is no grace.
    """

    kind: Literal["metered"] = Field(description="How much of a meter may be held in all.")
    soft_limit: Quantity | None = Field(default=None, description="Above it uses are warned of.")
    hard_limit: Quantity | None = Field(default=None, description="Above it nothing is granted.")
    grace_hours: int | None = Field(
        default=None,
        ge=1,
        le=GRACE_HOURS_MAX,
        description="From when the soft limit is passed until it holds like the hard one.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.feature in (PLAN, SEATS):
            raise ValueError("a meter is not called plan or seats")
        if self.soft_limit is None:
            if self.grace_hours is not None:
                raise ValueError("a grace needs a soft limit")
        elif self.hard_limit is not None and self.soft_limit > self.hard_limit:
            raise ValueError("the soft limit is at most the hard one")
        return self


Entitlement: TypeAlias = Annotated[
    BooleanEntitlement | StaticEntitlement | MeteredEntitlement, Field(discriminator="kind")
]


def meters(granted: Iterable[Entitlement]) -> frozenset[str]:
    """The meters that are among entitlements."""
    return frozenset(one.feature for one in granted if one.kind == "metered")


def _each_feature_once(granted: tuple[Entitlement, ...]) -> tuple[Entitlement, ...]:
    if len({one.feature for one in granted}) != len(granted):
        raise ValueError("each feature stands only once")
    return tuple(sorted(granted, key=lambda one: one.feature))


Entitlements: TypeAlias = Annotated[
    tuple[Entitlement, ...],
    Field(max_length=ENTITLEMENTS_MAX),
    AfterValidator(_each_feature_once),
]
