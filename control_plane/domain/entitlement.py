"""What a plan or an add-on grants, as a catalog declares it. Not whether a tenant may do something now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.charge import PLAN, SEATS, Slug
from control_plane.domain.money import MINOR_MAX
from control_plane.domain.prices import Quantity

ENTITLEMENTS_MAX = 200

_Whole: TypeAlias = Annotated[int, Field(ge=-MINOR_MAX, le=MINOR_MAX)]
_Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


class _Entitlement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Slug = Field(description="What an entitlement check names.")


class BooleanEntitlement(_Entitlement):
    """A feature that is there or not. One that is not declared is not there."""

    kind: Literal["boolean"] = Field(description="A feature that is there or not.")
    granted: bool = Field(default=True, description="Whether it is there.")


class StaticEntitlement(_Entitlement):
    """A value that the tenant's software asks for, the same all the time."""

    kind: Literal["static"] = Field(description="A value that does not change.")
    value: _Whole | _Word = Field(description="What is answered: a whole number or a text.")


class MeteredEntitlement(_Entitlement):
    """So much of a meter's usage; its name is the meter's. Without a limit: all of it.

    More than `soft_limit` is told, more than `hard_limit` is denied. For `grace_days` from when the
    hard limit was first passed, more is told and not denied.
    """

    kind: Literal["metered"] = Field(description="So much of a meter's usage.")
    soft_limit: Quantity | None = Field(
        default=None, description="Usage above it is told, and not denied."
    )
    hard_limit: Quantity | None = Field(default=None, description="Usage above it is denied.")
    grace_days: int = Field(
        default=0,
        ge=0,
        le=365,
        description="Days from when the hard limit was first passed in which more is not denied.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.name in (PLAN, SEATS):
            raise ValueError("a meter is not called plan or seats")
        soft, hard = self.soft_limit, self.hard_limit
        if soft is not None and hard is not None and soft > hard:
            raise ValueError("the soft limit is not above the hard limit")
        if self.grace_days and hard is None:
            raise ValueError("grace needs a hard limit")
        return self


Entitlement: TypeAlias = Annotated[
    BooleanEntitlement | StaticEntitlement | MeteredEntitlement, Field(discriminator="kind")
]


def meters(granted: Iterable[Entitlement]) -> frozenset[str]:
    """The meters that are among entitlements."""
    return frozenset(one.name for one in granted if one.kind == "metered")


def _each_name_once(granted: tuple[Entitlement, ...]) -> tuple[Entitlement, ...]:
    if len({one.name for one in granted}) != len(granted):
        raise ValueError("each name stands only once")
    return tuple(sorted(granted, key=lambda one: one.name))


Entitlements: TypeAlias = Annotated[
    tuple[Entitlement, ...],
    Field(max_length=ENTITLEMENTS_MAX),
    AfterValidator(_each_name_once),
]
