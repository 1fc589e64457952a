"""A tenant with its subscription, as calls about usage and entitlements find it. Not what it has used."""

from __future__ import annotations

from typing import Any, NamedTuple

from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.subscription import Subscription
from control_plane.domain.tenant import Tenant
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.handlers.handler import View


class Subscribed(NamedTuple):
    """Who has subscribed, and to what."""

    tenant: Tenant
    subscription: Subscription

    def standing(self) -> dict[str, Any]:
        """How both stand, as facts name it."""
        return {
            "access_mode": self.tenant.access_mode,
            "tenant_state": self.tenant.state,
            "subscription_state": self.subscription.state,
        }


def subscribed(view: View, tenant: str) -> Subscribed | None:
    """The tenant with its subscription, or None; two statements whether it is there or not."""
    found = tenant_row(view.connection, tenant)
    subscription = subscription_row(view.connection, tenant)
    if found is None or subscription is None:
        return None
    return Subscribed(found, subscription)


def declared(plans: PlanCatalog, plan: str, version: int) -> PlanOffer | None:
    """A version of a plan; None where a catalog no longer declares what somebody still has."""
    try:
        return plans.offer(plan, version)
    except NotFound:
        return None


def require_declared(plans: PlanCatalog, subscription: Subscription) -> PlanOffer:
    """The subscription's version of its plan; Refused (`plan_not_found`)."""
    offer = declared(plans, subscription.plan, subscription.plan_version)
    if offer is None:
        raise Refused(
            "The catalog no longer declares the tenant's version of its plan.",
            code="plan_not_found",
            rule="catalog.plans",
            fact="plan_version",
        )
    return offer
