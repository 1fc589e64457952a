"""What a tenant may be licensed to now, and until when: from its subscription. Not the licence itself, and no key.

Nothing offline can call a licence back, so it ends where what is paid for ends. What goes on by
itself has a grace behind its period, since the renewal may be paid a little later; what is known to
end has none. A subscription without periods is licensed for a number of days.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from control_plane.billing.granted import in_force
from control_plane.billing.licence import EntitlementValue, LicenceTerms
from control_plane.billing.seat_store import sizes
from control_plane.domain.entitlement import (
    BooleanEntitlement,
    Entitlement,
    MeteredEntitlement,
    StaticEntitlement,
)
from control_plane.domain.money import MINOR_MAX
from control_plane.domain.plans import PlanCatalog
from control_plane.domain.subscription import Subscription
from control_plane.errors import BadInput, Refused

GRACE: Final = timedelta(days=7)
DAYS: Final = 30  # of one without periods
DAYS_MAX: Final = 366
UNLIMITED: Final = "unlimited"


def licence_terms(
    subscription: Subscription | None,
    plans: PlanCatalog,
    now: datetime,
    days: int | None = None,
) -> LicenceTerms:
    """What the subscription entitles to at `now` (aware), for `days` at most where they are given.

    Refused (`licence_not_entitled`) where it entitles to nothing; NotFound (`plan_not_found`) for a
    version of a plan that is declared no more; BadInput for days that are not from 1 to 366.
    """
    if days is not None and not 1 <= days <= DAYS_MAX:
        raise BadInput("days", f"must lie between 1 and {DAYS_MAX}")
    if subscription is None or not subscription.entitled(now):
        raise _nothing()
    end = _end(subscription, now, days)
    if end <= now:
        raise _nothing()
    offer = plans.offer(subscription.plan, subscription.plan_version)
    return LicenceTerms(
        tenant=subscription.tenant,
        plan=offer.name,
        tier=offer.tier,
        entitlements={one.feature: _value(one) for one in in_force(subscription, offer, now)},
        seats=sizes(subscription, plans).size,
        not_before=now,
        expires_at=end,
    )


def _end(subscription: Subscription, now: datetime, days: int | None) -> datetime:
    known = _paid_until(subscription)
    if known is None:
        return now + timedelta(days=DAYS if days is None else days)
    return known if days is None else min(known, now + timedelta(days=days))


def _paid_until(one: Subscription) -> datetime | None:
    """When the rights end as things stand; None where nothing says so."""
    ends = [one.term_ends_at]
    if one.cancel_at_period_end:
        ends.append(one.current_period_end)
    if one.state == "trialing":
        ends.append(one.trial_ends_at)
    elif one.state == "past_due":
        # The period that runs is the one that is owed.
        ends.append(one.grace_ends_at)
    elif one.current_period_end is not None:
        ends.append(one.current_period_end + GRACE)
    known = [end for end in ends if end is not None]
    return min(known) if known else None


def _value(one: Entitlement) -> EntitlementValue:
    match one:
        case BooleanEntitlement():
            return one.granted
        case StaticEntitlement():
            return _number(one.value)
        case MeteredEntitlement():
            limit = one.hard_limit
            if limit is None and one.grace_hours is not None:
                # Once the grace is over, the soft limit holds like a hard one.
                limit = one.soft_limit
            return UNLIMITED if limit is None else _number(limit)


def _number(value: Decimal) -> EntitlementValue:
    whole = value == value.to_integral_value() and value <= MINOR_MAX
    return int(value) if whole else f"{value.normalize():f}"


def _nothing() -> Refused:
    return Refused(
        "the subscription entitles to nothing now",
        code="licence_not_entitled",
        rule="licence.terms",
        fact="entitled",
    )
