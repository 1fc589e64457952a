"""The offer that a tenant is to live on: found in the catalog, or refused with its reason. Not the catalog."""

from __future__ import annotations

from control_plane.domain.canonical import Json
from control_plane.domain.plans import PlanOffer
from control_plane.errors import NotFound, Refused
from control_plane.handlers.handler import Ports


def isolations_of(ports: Ports, plan: str) -> tuple[str, ...]:
    """The isolation models that a plan offers; none where there is no such plan."""
    try:
        return tuple(ports.catalog.plans.offer(plan).isolations)
    except NotFound:
        return ()


def free_offer(ports: Ports, plan: str, region: str) -> PlanOffer:
    """The plan's newest offer, in a region, for nothing; Refused where there is none."""
    try:
        offer = ports.catalog.plans.offer(plan)
    except NotFound:
        raise Refused(
            "There is no such plan.",
            code="plan_not_found",
            rule="catalog.plans",
            fact="proposed_plan",
        ) from None
    if region not in offer.regions:
        raise Refused(
            "The plan is not offered in this region.",
            code="region_not_in_plan",
            rule="catalog.plans",
            fact="proposed_region",
        )
    if offer.priced:
        raise Refused(
            "A plan with a price needs a payment first.",
            code="payment_required",
            rule="catalog.plans",
            fact="proposed_plan",
        )
    return offer


def parts_of(offer: PlanOffer) -> dict[str, Json]:
    """What an offer that is free adds to a plan: entitlement, and that no money is due."""
    return {"entitlement": offer.declared(), "money": {"due_minor": 0}}
