"""A coupon that a tenant has redeemed: as it was then, and how far it has run. Not what it takes off."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain import canonical
from control_plane.domain.coupon import Coupon
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.tenant import TenantId

_ID_DIGITS = 32


def redemption_id(tenant: str, code: str) -> BillingId:
    """The id of the one redemption of a coupon by a tenant: each is redeemed once."""
    parts = {"of": "redemption", "tenant": tenant, "code": code}
    return f"redemption_{canonical.digest(parts)[:_ID_DIGITS]}"


class Redemption(BaseModel):
    """One coupon, redeemed once by one tenant. Times are aware.

    `periods` counts the billing periods in which it has held, the one that begins at `period_start`
    being the last of them: none yet where it waits for its first. From `ended_at` on it takes
    nothing off what is charged anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: BillingId
    tenant: TenantId
    coupon: Coupon
    redeemed_at: Instant
    periods: int = Field(default=0, ge=0)
    period_start: Instant | None = None
    ended_at: Instant | None = None

    @property
    def code(self) -> str:
        """What the customer typed in."""
        return self.coupon.code

    @property
    def periods_left(self) -> int | None:
        """How many more periods it holds for, the one that runs not counted; None without end."""
        if self.ended_at is not None:
            return 0
        match self.coupon.duration:
            case "once":
                return max(0, 1 - self.periods)
            case "intervals":
                return max(0, (self.coupon.intervals or 0) - self.periods)
            case "forever":
                return None

    def runs_in(self, period_start: datetime) -> bool:
        """Whether it holds in the period that begins then: one it has held in, or else the next."""
        counted = self.period_start == period_start
        interval = self.periods - 1 if counted else self.periods
        return self.ended_at is None and self.coupon.runs_in(interval)

    @property
    def runs_next(self) -> bool:
        """Whether it holds in the period after its last one."""
        return self.ended_at is None and self.coupon.runs_in(self.periods)

    def counted(self, period_start: datetime) -> Self:
        """The same once the period that begins then is one of its own; told again, no other."""
        if self.period_start == period_start:
            return self
        return self._with(periods=self.periods + 1, period_start=period_start)

    def ended(self, at: datetime) -> Self:
        """The same, over from `at` on."""
        return self._with(ended_at=at)

    def _with(self, **changes: object) -> Self:
        held = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**held, **changes})


def redeem(tenant: str, coupon: Coupon, at: datetime) -> Redemption:
    """A redemption as of the aware instant `at`, whose first period is yet to come."""
    named = redemption_id(tenant, coupon.code)
    return Redemption(id=named, tenant=tenant, coupon=coupon, redeemed_at=at)
