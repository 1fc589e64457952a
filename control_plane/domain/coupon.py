"""A coupon: what it takes off, for how long, and who may redeem it. Not the amounts that it comes to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.charge import Slug
from control_plane.domain.instant import Instant
from control_plane.domain.money import MINOR_MAX, Money
from control_plane.domain.prices import Quantity
from control_plane.errors import Refused

CouponCode: TypeAlias = Annotated[
    str, Field(pattern=r"^[A-Z0-9][A-Z0-9_-]{1,39}$", description="What a customer types in.")
]
PercentOff: TypeAlias = Annotated[Quantity, Field(gt=0, le=100)]
CouponDuration: TypeAlias = Literal["once", "intervals", "forever"]

_INTERVALS_MAX = 1_200  # a century of months
_PLANS_MAX = 200


def _above_zero(money: Money) -> Money:
    if money.minor < 1:
        raise ValueError("must be above zero")
    return money


def _sorted_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("each plan stands only once")
    return tuple(sorted(names))


class Coupon(BaseModel):
    """Either a percentage or an amount off, for one, several or all billing intervals.

    `redeem_by` is the instant at which it can no longer be redeemed; what was redeemed before goes
    on. `plans` are the plans that it is for, none for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code: CouponCode
    title: str = Field(min_length=1, max_length=80, description="For people, on the invoice.")
    percent_off: PercentOff | None = Field(default=None, description="In percent, as text: `12.5`.")
    amount_off: Annotated[Money, AfterValidator(_above_zero)] | None = Field(
        default=None, description="Off a whole period; of a part of one, the same part of it."
    )
    duration: CouponDuration = Field(
        description="For one billing period, for `intervals` of them, or for all."
    )
    intervals: int | None = Field(
        default=None,
        ge=1,
        le=_INTERVALS_MAX,
        description="For how many billing periods; with the duration `intervals` alone.",
    )
    redeem_by: Instant | None = Field(
        default=None, description="From then on it can no longer be redeemed."
    )
    redemptions_max: int | None = Field(
        default=None, ge=1, le=MINOR_MAX, description="How many tenants may redeem it in all."
    )
    plans: Annotated[
        tuple[Slug, ...], Field(max_length=_PLANS_MAX), AfterValidator(_sorted_once)
    ] = Field(default=(), description="The plans that it is for; none for all of them.")

    @model_validator(mode="after")
    def _is_one_of_each(self) -> Self:
        if (self.percent_off is None) == (self.amount_off is None):
            raise ValueError("a coupon takes off either a percentage or an amount")
        if (self.intervals is not None) != (self.duration == "intervals"):
            raise ValueError("`intervals` stands with the duration `intervals` alone")
        return self

    def is_for(self, plan: str) -> bool:
        """Whether it takes anything off that plan."""
        return not self.plans or plan in self.plans

    def runs_in(self, interval: int) -> bool:
        """Whether it holds in the billing interval of that number, 0 for the one it began in."""
        match self.duration:
            case "once":
                return interval == 0
            case "intervals":
                return 0 <= interval < (self.intervals or 0)
            case "forever":
                return interval >= 0


def refuse_redemption(
    coupon: Coupon, *, plan: str, currency: str, redeemed: int, at: datetime
) -> Refused | None:
    """Why the coupon may not be redeemed at the aware instant `at`, or None.

    `redeemed` counts the redemptions so far; whoever writes the next one must hold that count
    fast in the same transaction.
    """
    if coupon.redeem_by is not None and at >= coupon.redeem_by:
        return _refused("redeem_by", code="coupon_expired")
    if coupon.redemptions_max is not None and redeemed >= coupon.redemptions_max:
        return _refused("redemptions_max", code="coupon_used_up")
    if not coupon.is_for(plan):
        return _refused("plans", code="coupon_not_for_plan")
    if coupon.amount_off is not None and coupon.amount_off.currency != currency:
        return _refused("amount_off", code="coupon_currency")
    return None


_WHY = {
    "coupon_expired": "the coupon can no longer be redeemed",
    "coupon_used_up": "the coupon was redeemed as often as it may be",
    "coupon_not_for_plan": "the coupon is not for that plan",
    "coupon_currency": "the coupon is in another currency",
}


def _refused(fact: str, *, code: str) -> Refused:
    return Refused(_WHY[code], code=code, rule="coupon.redeem", fact=fact)
