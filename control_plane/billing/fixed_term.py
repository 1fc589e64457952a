"""A fixed term: when it ends, and that nothing leaves it before. Not what becomes of a subscription then."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from control_plane.billing.book import cycle_of
from control_plane.billing.calendar import boundary, utc
from control_plane.domain.plans import PlanOffer
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Terms
from control_plane.errors import Refused

# In the others nothing is had any more, or nothing was had yet.
_BOUND: Final = frozenset({"active", "past_due", "paused"})


def term_end(offer: PlanOffer, terms: Terms, began: datetime | None = None) -> datetime | None:
    """When a fixed term ends whose first period begins at `began`; None where the plan goes on.

    `began` is a boundary of the terms' own periods; without it, it is their anchor.
    """
    if offer.term_intervals is None:
        return None
    cycle, index = cycle_of(terms), 0
    while began is not None and boundary(terms.anchor_at, cycle, terms.zone, index) < utc(began):
        index += 1
    return boundary(terms.anchor_at, cycle, terms.zone, index + offer.term_intervals)


def runs(subscription: Subscription, at: datetime) -> bool:
    """Whether a fixed term binds the tenant at `at` (aware)."""
    ends = subscription.term_ends_at
    return subscription.state in _BOUND and ends is not None and at < ends


def require_over(subscription: Subscription, at: datetime) -> None:
    """See that no fixed term runs. Refused (`term_runs`)."""
    if runs(subscription, at):
        raise Refused(
            "A fixed term runs: until it ends there is no less and no way out.",
            code="term_runs",
            rule="subscription.term",
            fact="term_ends_at",
        )
