"""The payment providers that a worker may put attempts to, by name. Holds no rule, and charges nothing."""

from __future__ import annotations

from control_plane.billing.provider import PaymentProvider
from server.clock import SystemClock
from server.settings import Settings
from server.stripe_secrets import stripe_key
from server.workspace import Workspace


def provider_names(settings: Settings) -> tuple[str, ...]:
    """The providers that a worker of these settings has, sorted; no file is read."""
    has_stripe = settings.stripe_key is not None or settings.stripe_key_file is not None
    named = {
        "manual": settings.manual_payments,
        "sandbox": settings.sandbox_payments,
        "stripe": has_stripe,
    }
    return tuple(sorted(name for name, there in named.items() if there))


def wire_payments(workspace: Workspace, settings: Settings) -> dict[str, PaymentProvider]:
    """The sandbox, unless it is forbidden, transfers where they are let, Stripe where there is a key.

    Raises Unavailable without Stripe's SDK, BadInput for a file that is no key of this user alone.
    """
    found: dict[str, PaymentProvider] = {}
    if settings.sandbox_payments:
        from control_plane.billing.providers.sandbox import SandboxProvider

        found["sandbox"] = SandboxProvider(workspace.sandbox_db)
    if settings.manual_payments:
        from control_plane.billing.providers.manual import ManualProvider

        found["manual"] = ManualProvider()
    key = stripe_key(settings)
    if key is not None:
        # The SDK is an extra: without a key it is never looked for.
        from control_plane.billing.providers.stripe import StripeProvider
        from control_plane.billing.providers.stripe_api import StripeApi

        api = StripeApi(key, api_base=settings.stripe_api_base)
        found["stripe"] = StripeProvider(api, SystemClock().now)
    return found
