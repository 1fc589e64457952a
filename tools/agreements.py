"""Terms as a caller writes them, turned into what a command carries. Asks for nothing, and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from control_plane.domain.buyer import Buyer
from control_plane.domain.terms import Agreement, Method, Taken
from tools.schemas import AddOnArguments, AgreementArguments, BuyerArguments


def agreement_of(asked: AgreementArguments | None) -> Agreement | None:
    """What a new subscription is asked to be; None where nothing was said of terms."""
    if asked is None:
        return None
    method = asked.method
    return Agreement(
        currency=asked.currency,
        interval=asked.interval,
        zone=asked.zone,
        collection=asked.collection,
        seats=asked.seats,
        add_ons=taken(asked.add_ons),
        method=None
        if method is None
        else Method(provider=method.provider, reference=method.reference),
        buyer=None if asked.billing_details is None else buyer_of(asked.billing_details),
        coupon=asked.coupon,
    )


def buyer_of(asked: BuyerArguments) -> Buyer:
    """Who invoices are made out to."""
    return Buyer(
        name=asked.name,
        address=asked.address,
        country=asked.country,
        business=asked.business,
        vat_id=asked.vat_id,
    )


def taken(asked: Iterable[AddOnArguments]) -> tuple[Taken, ...]:
    """Add-ons by name and quantity."""
    return tuple(Taken(name=one.name, quantity=one.quantity) for one in asked)
