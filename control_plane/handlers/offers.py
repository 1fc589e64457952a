"""The offer that a tenant is to live on: found in the catalog, or refused with its reason. Not the catalog."""

from __future__ import annotations

from datetime import datetime

from control_plane.billing.charging import recurring_minor
from control_plane.billing.starting import check_terms
from control_plane.domain.canonical import Json
from control_plane.domain.plans import PlanOffer
from control_plane.domain.terms import Agreement
from control_plane.errors import NotFound, Refused
from control_plane.handlers.handler import Ports


def isolations_of(ports: Ports, plan: str) -> tuple[str, ...]:
    """The isolation models that a plan offers; none where there is no such plan."""
    try:
        return tuple(ports.catalog.plans.offer(plan).isolations)
    except NotFound:
        return ()


def offer_in(ports: Ports, plan: str, region: str) -> PlanOffer:
    """The plan's newest offer, in a region; Refused where there is none."""
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
    return offer


def agreed_offer(ports: Ports, plan: str, region: str, agreed: Agreement | None) -> PlanOffer:
    """The same on terms; Refused where they are missing, or the plan is not offered on such ones."""
    offer = offer_in(ports, plan, region)
    if agreed is None:
        if offer.priced:
            raise terms_needed()
        return offer
    check_terms(offer, agreed.terms(ports.clock.now()))
    first_is_free = offer.trial is not None and not offer.trial.method_required
    if agreed.collection == "automatic" and agreed.method is None and not first_is_free:
        raise Refused(
            "A payment method is needed first.",
            code="payment_method_required",
            rule="subscription.method",
            fact="agreement",
        )
    return offer


def terms_needed() -> Refused:
    """The refusal of a plan with a price where nothing was agreed on."""
    return Refused(
        "A plan with a price needs terms: a currency, and a way to pay.",
        code="payment_required",
        rule="catalog.plans",
        fact="proposed_plan",
    )


def parts_of(offer: PlanOffer, agreed: Agreement | None, at: datetime) -> dict[str, Json]:
    """What an offer adds to a plan: entitlement, and what a whole period costs ahead."""
    if agreed is None:
        return {"entitlement": offer.declared(), "money": {"due_minor": 0}}
    trial = offer.trial
    return {
        "entitlement": offer.declared(),
        "money": {
            "currency": agreed.currency,
            "interval": agreed.interval,
            "recurring_minor": recurring_minor(offer, agreed.terms(at)),
            "trial_days": 0 if trial is None else trial.days,
            "collection": agreed.collection,
            "provider": None if agreed.method is None else agreed.method.provider,
        },
    }
