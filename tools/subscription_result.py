"""What a subscription is answered as, by every tool that reads or moves it. Not the tools, and not their inputs."""

from __future__ import annotations

from tools.payment_action import PaymentActionResult
from tools.schemas import BuyerResult
from tools.spec import Result


class AddOnTaken(Result):
    """So many of one add-on."""

    name: str
    quantity: int


class TermsResult(Result):
    """What a subscription was agreed on."""

    currency: str
    interval: str
    zone: str
    anchor_at: str
    collection: str
    due_days: int
    seats: int
    add_ons: list[AddOnTaken]


class GateResult(Result):
    """What a debt closes, and from when on."""

    at: str
    level: str


class CouponResult(Result):
    """A coupon that holds, or waits for its first period. ``periods_left``: null is without end."""

    code: str
    title: str
    percent_off: str | None
    amount_off_minor: int | None
    currency: str | None
    redeemed_at: str
    periods: int
    periods_left: int | None


class SubscriptionResult(Result):
    """A tenant's subscription, and what its version of the plan declares."""

    tenant: str
    plan: str
    plan_version: int
    state: str
    cancel_at_period_end: bool
    entitled: bool
    tier: str | None
    quotas: dict[str, int] | None
    terms: TermsResult | None
    payment_provider: str | None
    billing_details: BuyerResult | None
    current_period_start: str | None
    current_period_end: str | None
    trial_ends_at: str | None
    grace_ends_at: str | None
    paused_until: str | None
    pending_plan: str | None
    pending_at: str | None
    billing_level: str
    gates: list[GateResult]
    coupons: list[CouponResult]
    payment_action: PaymentActionResult | None
