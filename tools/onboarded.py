"""The result of onboarding: the tenant, and what its first payment waits for. Not the tool."""

from __future__ import annotations

from tools.payment_action import PaymentActionResult
from tools.schemas import TenantResult


class OnboardedResult(TenantResult):
    """The tenant that now is, and what its customer has to do for its first payment."""

    payment_action: PaymentActionResult | None
