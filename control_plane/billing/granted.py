"""What a subscription entitles to: its plan's entitlements, widened by its add-ons. Not what is left of it.

An add-on only ever widens, and of a quantity of them each counts:

- boolean: it is there if the plan or any add-on grants it.
- static: the plan's value, and each add-on's as often as it was taken, added.
- metered: so the hard limits; where one has none, there is none. So the soft limits, where any is
  declared: what has none adds its hard limit, and where that is missing too there is no soft limit.
  The grace is the longest; where one with a soft limit has none, that may be passed for good.

Of two kinds under one name, what grants nothing gives way; else the plan's stands, or that of the
add-on whose name comes first. Nothing grows beyond what a quantity can be.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import Final

from control_plane.domain.entitlement import (
    BooleanEntitlement,
    Entitlement,
    MeteredEntitlement,
    StaticEntitlement,
)
from control_plane.domain.plans import PlanOffer
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Taken

QUANTITY_MAX: Final = Decimal("999999999999999.999999999")

_EXACT = Context(prec=60, traps=[Inexact])


def in_force(
    subscription: Subscription, offer: PlanOffer, now: datetime
) -> tuple[Entitlement, ...]:
    """What holds at `now` (aware), by feature: nothing where the subscription does not entitle."""
    if not subscription.entitled(now):
        return ()
    return granted(offer, () if subscription.terms is None else subscription.terms.add_ons)


def granted(offer: PlanOffer, add_ons: Iterable[Taken]) -> tuple[Entitlement, ...]:
    """The plan's entitlements with what was taken beside it, by feature; each feature once.

    An add-on that the offer does not have adds nothing.
    """
    declared = {one.name: one for one in offer.add_ons}
    found = {one.feature: one for one in offer.entitlements}
    for taken in sorted(add_ons, key=lambda one: one.name):
        if taken.name not in declared:
            continue
        for one in declared[taken.name].entitlements:
            more = _times(one, taken.quantity)
            found[one.feature] = _both(found[one.feature], more) if one.feature in found else more
    return tuple(found[feature] for feature in sorted(found))


def _times(one: Entitlement, count: int) -> Entitlement:
    match one:
        case BooleanEntitlement():
            return one
        case StaticEntitlement():
            return one.model_copy(update={"value": _product(one.value, count)})
        case MeteredEntitlement():
            limits = {"soft_limit": one.soft_limit, "hard_limit": one.hard_limit}
            return one.model_copy(
                update={
                    name: None if limit is None else _product(limit, count)
                    for name, limit in limits.items()
                }
            )


def _both(one: Entitlement, other: Entitlement) -> Entitlement:
    match one, other:
        case BooleanEntitlement(), BooleanEntitlement():
            return one if one.granted else other
        case StaticEntitlement(), StaticEntitlement():
            return one.model_copy(update={"value": _sum(one.value, other.value)})
        case MeteredEntitlement(), MeteredEntitlement():
            return _metered(one, other)
        case BooleanEntitlement(granted=False), _:
            return other
        case _:
            return one


def _metered(one: MeteredEntitlement, other: MeteredEntitlement) -> MeteredEntitlement:
    soft = None
    if one.soft_limit is not None or other.soft_limit is not None:
        soft = _limits(_warned_from(one), _warned_from(other))
    return MeteredEntitlement(
        kind="metered",
        feature=one.feature,
        hard_limit=_limits(one.hard_limit, other.hard_limit),
        soft_limit=soft,
        grace_hours=None if soft is None else _grace(one, other),
    )


def _warned_from(one: MeteredEntitlement) -> Decimal | None:
    return one.hard_limit if one.soft_limit is None else one.soft_limit


def _limits(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else _sum(one, other)


def _grace(one: MeteredEntitlement, other: MeteredEntitlement) -> int | None:
    graces = [each.grace_hours for each in (one, other) if each.soft_limit is not None]
    known = [hours for hours in graces if hours is not None]
    return max(known) if len(known) == len(graces) else None


def _product(value: Decimal, count: int) -> Decimal:
    return min(QUANTITY_MAX, _EXACT.multiply(value, Decimal(count)))


def _sum(one: Decimal, other: Decimal) -> Decimal:
    return min(QUANTITY_MAX, _EXACT.add(one, other))
