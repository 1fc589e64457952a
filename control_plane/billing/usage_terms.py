"""What a subscription and its plan say of usage: the meters, and the periods. Not the usage itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from control_plane.billing.arrears import LATE_USAGE_H
from control_plane.billing.calendar import MONTHLY, Cycle, Period, utc
from control_plane.billing.metering import Meter, Schedule
from control_plane.domain.entitlement import meters
from control_plane.domain.plans import PlanOffer
from control_plane.domain.subscription import Subscription

_INDEX: Final = -1
FREE_LATE_HOURS: Final = 24
"""Where nothing is invoiced, nothing waits."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UsagePeriods(Schedule):
    """The periods of a schedule, and one `before` it that an invoice still waits for.

    A change of plan, or the end of a trial, may count periods anew from where it happened. What was
    used before is owed all the same, in the period that was cut short.
    """

    before: Period | None = None

    @property
    def start(self) -> datetime:
        """The UTC instant at which the first period begins."""
        own = super().start
        return own if self.before is None else min(own, utc(self.before.start))

    def period_at(self, instant: datetime) -> Period:
        """The period that holds the aware `instant`; no two share time. BadInput as of a schedule."""
        found, before = super().period_at(instant), self.before
        if before is None:
            return found
        if before.holds(instant):
            return before
        if utc(instant) < before.start:
            return found.model_copy(update={"end": min(found.end, before.start)})
        return found.model_copy(update={"start": max(found.start, before.end)})


def meters_of(*offers: PlanOffer, late_hours: int = FREE_LATE_HOURS) -> dict[str, Meter]:
    """The meters that versions of plans declare, their add-ons' too: each adds quantities up.

    Those of add-ons that were not taken count as well: what was used is told, whatever is granted.
    """
    declared = frozenset[str]().union(
        *(meters(offer.entitlements) for offer in offers),
        *(meters(one.entitlements) for offer in offers for one in offer.add_ons),
    )
    return {
        name: Meter(name=name, aggregation="sum", late_hours=late_hours)
        for name in sorted(declared)
    }


def open_hours(subscription: Subscription) -> int:
    """How long a period takes usage after it has ended in time."""
    return FREE_LATE_HOURS if subscription.terms is None else LATE_USAGE_H


def late_hours(subscription: Subscription, now: datetime) -> int:
    """How long after its end a period takes usage at `now` (aware): as long as its invoice waits.

    What came later would be on no invoice, so it is refused, and whoever sent it is told.
    """
    if subscription.terms is None:
        return open_hours(subscription)
    ends = subscription.current_period_end
    waits = subscription.unbilled is not None or (ends is not None and ends <= now)
    return open_hours(subscription) if waits else 0


def schedule_of(subscription: Subscription) -> Schedule:
    """The periods that usage counts in: those that are billed, or calendar months in UTC."""
    terms, waits = subscription.terms, subscription.unbilled
    return UsagePeriods(
        anchor=_EPOCH if terms is None else terms.anchor_at,
        cycle=MONTHLY if terms is None else Cycle(interval=terms.interval),
        zone="UTC" if terms is None else terms.zone,
        before=None if waits is None else Period(index=_INDEX, start=waits.start, end=waits.end),
    )
