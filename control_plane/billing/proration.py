"""The price of a part of a period: its share, and the two lines of one change. Not several changes.

The share that is left of a period is an exact fraction, and a price is multiplied with it and rounded
once. A change gives back what is left of the old price and charges what is left of the new one, as
two lines and never as their difference.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from control_plane.billing.calendar import Period, ZoneName, local_day, utc
from control_plane.domain.money import Money, round_money
from control_plane.domain.plans import ProrationMode
from control_plane.errors import BadInput, Refused

_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProrationBasis(BaseModel):
    """What a share is measured by: the period, the plan's mode and the customer's zone (IANA).

    `second` counts whole seconds, so that an hour more or less for a change of clocks counts as
    such. `day` counts days of the customer's zone, and the day of a change belongs wholly to what
    comes after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    period: Period
    mode: ProrationMode
    zone: ZoneName


def factor(basis: ProrationBasis, at: datetime) -> Fraction:
    """The share of the period that is left at the aware instant `at`: 1 at its start, 0 at its end.

    It never rises as `at` goes on. BadInput outside of the period, and for a period that has no
    second, or no day, to count.
    """
    start, end, moment = utc(basis.period.start), utc(basis.period.end), utc(at)
    if not start <= moment <= end:
        raise BadInput("at", "must lie in the period")
    whole = _count(basis, end) - _count(basis, start)
    if whole < 1:
        raise BadInput("period", f"must have at least one {basis.mode}")
    return Fraction(_count(basis, end) - _count(basis, moment), whole)


def _count(basis: ProrationBasis, moment: datetime) -> int:
    if basis.mode == "day":
        return local_day(moment, basis.zone).toordinal()
    # Since a fixed instant, so that each one is cut to its second before any two are compared.
    return (moment - _EPOCH) // _SECOND


def share(price: Money, left: Fraction) -> Money:
    """What `left` of a period costs at `price` for all of it; `left` from 0 to 1, rounded once.

    BadInput for another share, or for a price below zero.
    """
    if not 0 <= left <= 1:
        raise BadInput("left", "must lie between 0 and 1")
    if price.minor < 0:
        raise BadInput("price", "must be 0 or more")
    return Money(minor=round_money(price.minor * left), currency=price.currency)


def credit(price: Money, left: Fraction) -> Money:
    """The line that gives back what is left of `price`: zero or below. BadInput as `share`."""
    given = share(price, left)
    return Money(minor=-given.minor, currency=given.currency)


def debit(price: Money, left: Fraction) -> Money:
    """The line that charges what is left of `price`: zero or above. BadInput as `share`."""
    return share(price, left)


def change_lines(old: Money, new: Money, left: Fraction) -> tuple[Money, Money]:
    """The credit of `old` and the debit of `new`, for a change when `left` of the period remains.

    Refused for two currencies; BadInput as `share`.
    """
    check_currency(old, new)
    return credit(old, left), debit(new, left)


def check_currency(old: Money, new: Money) -> None:
    """Refused unless both are of one currency: a change of currency is another subscription."""
    if old.currency != new.currency:
        raise Refused(
            "a change keeps the currency", code="two_currencies", rule="proration.currency"
        )
