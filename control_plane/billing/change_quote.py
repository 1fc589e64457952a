"""What a change of a subscription is asked to be, and what it comes to: two records. Not how one follows from the other."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.charge import Interval
from control_plane.domain.coupon import CouponCode
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import InvoiceLine
from control_plane.domain.money import Currency
from control_plane.domain.plans import Direction
from control_plane.domain.redemption import Redemption
from control_plane.domain.tax import InvoiceTax
from control_plane.domain.terms import AddOnsTaken, Quantity, Running, Terms

Applies: TypeAlias = Literal["now", "when_paid", "period_end"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Wanted(_Strict):
    """What a subscription is to become; what is left out stays as it is."""

    plan: str = Field(min_length=1, max_length=40)
    interval: Interval | None = None
    currency: Currency | None = None
    seats: Quantity | None = None
    add_ons: AddOnsTaken | None = None
    coupon: CouponCode | None = None
    remove_coupon: CouponCode | None = None


class Quote(_Strict):
    """What a change comes to at `proration_at`. Amounts are minor units of the terms' currency.

    `due_minor` is to be paid now, after `credit_minor` of credit; `recurring_minor` is what a whole
    period costs ahead from then on, of which coupons take `recurring_discount_minor` off the next
    one. `unfit` names what stands in the way of a smaller plan. `redeemed` and `removed` are what
    becomes of a coupon.
    """

    direction: Direction
    plan: str
    plan_version: int
    terms: Terms
    proration_at: Instant
    applies: Applies
    applies_at: Instant
    lines: tuple[InvoiceLine, ...] = ()
    tax: InvoiceTax | None = None
    running: tuple[Running, ...] = ()
    total_minor: int = 0
    credit_minor: int = 0
    due_minor: int = 0
    recurring_minor: int = 0
    recurring_discount_minor: int = 0
    unfit: tuple[str, ...] = ()
    redeemed: Redemption | None = None
    removed: CouponCode | None = None
