"""The offer that a tenant is to live on: found in the catalog, or refused with its reason. Not the catalog."""

from __future__ import annotations

from datetime import datetime

from control_plane.billing.charging import recurring_minor
from control_plane.billing.coupons import covers, whole_minor
from control_plane.billing.starting import check_terms
from control_plane.billing.taxing import require_taxable
from control_plane.domain.canonical import Json, plain
from control_plane.domain.coupon import Coupon, refuse_redemption
from control_plane.domain.plans import PlanOffer
from control_plane.domain.terms import Agreement
from control_plane.errors import NotFound, Refused
from control_plane.handlers.handler import Ports


def offered_by(ports: Ports, plan: str) -> dict[str, object]:
    """Where a tenant on a plan may live, as facts; nowhere where there is no such plan."""
    try:
        offer = ports.catalog.plans.offer(plan)
    except NotFound:
        return {"plan_isolations": (), "plan_clouds": (), "plan_regions": ()}
    return {
        "plan_isolations": tuple(offer.isolations),
        "plan_clouds": tuple(offer.clouds),
        "plan_regions": offer.regions,
    }


def offer_in(ports: Ports, plan: str, cloud: str, region: str) -> PlanOffer:
    """The plan's newest offer, on a cloud and in a region; Refused where there is none."""
    try:
        offer = ports.catalog.plans.offer(plan)
    except NotFound:
        raise Refused(
            "There is no such plan.",
            code="plan_not_found",
            rule="catalog.plans",
            fact="proposed_plan",
        ) from None
    if cloud not in offer.clouds:
        raise Refused(
            "The plan is not offered on this cloud.",
            code="cloud_not_in_plan",
            rule="catalog.plans",
            fact="proposed_cloud",
        )
    if region not in offer.regions:
        raise Refused(
            "The plan is not offered in this region.",
            code="region_not_in_plan",
            rule="catalog.plans",
            fact="proposed_region",
        )
    return offer


def agreed_offer(
    ports: Ports, plan: str, cloud: str, region: str, agreed: Agreement | None
) -> PlanOffer:
    """The same on terms; Refused where they are missing, or the plan is not offered on such ones."""
    offer = offer_in(ports, plan, cloud, region)
    if agreed is None:
        if offer.priced:
            raise terms_needed()
        return offer
    now = ports.clock.now()
    check_terms(offer, agreed.terms(now))
    check_coupon(ports, offer, agreed)
    if agreed.buyer is not None:
        require_taxable(ports.catalog.tax, agreed.buyer, now)
    coupon = coupon_of(ports, agreed)
    first_is_free = offer.trial is not None and not offer.trial.method_required
    first_is_free |= covers((coupon,) if coupon else (), offer, agreed.terms(now))
    if agreed.collection == "automatic" and agreed.method is None and not first_is_free:
        raise Refused(
            "A payment method is needed first.",
            code="payment_method_required",
            rule="subscription.method",
            fact="agreement",
        )
    return offer


def check_coupon(
    ports: Ports, offer: PlanOffer, agreed: Agreement | None, redeemed: int = 0
) -> None:
    """Refused where the agreed coupon may not be redeemed with the plan, as far as the catalog tells.

    ``redeemed`` is how often it was, over all tenants.
    """
    coupon = coupon_of(ports, agreed)
    if coupon is None or agreed is None:
        return
    refused = refuse_redemption(
        coupon,
        plan=offer.name,
        currency=agreed.currency,
        redeemed=redeemed,
        at=ports.clock.now(),
    )
    if refused is not None:
        raise refused


def coupon_of(ports: Ports, agreed: Agreement | None) -> Coupon | None:
    """The agreed coupon, or None; Refused (`coupon_not_found`)."""
    code = None if agreed is None else agreed.coupon
    return None if code is None else ports.catalog.coupons.coupon(code)


def terms_needed() -> Refused:
    """The refusal of a plan with a price where nothing was agreed on."""
    return Refused(
        "A plan with a price needs terms: a currency, and a way to pay.",
        code="payment_required",
        rule="catalog.plans",
        fact="proposed_plan",
    )


def parts_of(
    offer: PlanOffer, agreed: Agreement | None, at: datetime, coupon: Coupon | None = None
) -> dict[str, Json]:
    """What an offer adds to a plan: entitlement, what a whole period costs ahead, less a coupon."""
    if agreed is None:
        return {"entitlement": offer.declared(), "money": {"due_minor": 0}}
    trial, terms = offer.trial, agreed.terms(at)
    off: dict[str, Json] = {}
    if coupon is not None:
        off = {"coupon": plain(coupon), "discount_minor": whole_minor(offer, terms, [coupon])}
    return {
        "entitlement": offer.declared(),
        "money": {
            "currency": agreed.currency,
            "interval": agreed.interval,
            "recurring_minor": recurring_minor(offer, terms),
            **off,
            "trial_days": 0 if trial is None else trial.days,
            "collection": agreed.collection,
            "provider": None if agreed.method is None else agreed.method.provider,
        },
    }
