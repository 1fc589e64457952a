"""The payment providers that a worker may put attempts to, by name. Holds no rule, and charges nothing."""

from __future__ import annotations

from control_plane.billing.provider import PaymentProvider
from server.clock import SystemClock
from server.settings import Settings
from server.workspace import Workspace


def wire_payments(workspace: Workspace, settings: Settings) -> dict[str, PaymentProvider]:
    """The sandbox, unless it is forbidden, and Stripe where there is a key. Raises Unavailable."""
    found: dict[str, PaymentProvider] = {}
    if settings.sandbox_payments:
        from control_plane.billing.providers.sandbox import SandboxProvider

        found["sandbox"] = SandboxProvider(workspace.sandbox_db)
    if settings.stripe_key is not None:
        # The SDK is an extra: without a key it is never looked for.
        from control_plane.billing.providers.stripe import StripeProvider
        from control_plane.billing.providers.stripe_api import StripeApi

        api = StripeApi(settings.stripe_key, api_base=settings.stripe_api_base)
        found["stripe"] = StripeProvider(api, SystemClock().now)
    return found
