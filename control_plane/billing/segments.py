"""Several changes within one period: what each segment costs, and the lines they leave. Not invoices.

What is left of a price is a rounded cumulative: it falls from the price at the period's start to zero
at its end. A segment costs the difference of two of them, so that however a period is cut, its
segments sum exactly to the price. To round each segment by itself would lose or invent a cent in
about three of ten periods.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from control_plane.billing.calendar import utc
from control_plane.billing.proration import ProrationBasis, check_currency, factor, share
from control_plane.domain.money import Money, round_money
from control_plane.errors import BadInput

CHANGES_MAX = 10_000  # of one period


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Charge(_Strict):
    """What runs until the period's end: its price for a whole period, since when, and what was paid.

    `paid` is for the time from `since` to the period's end alone. It may be below what is left of
    the price at `since`, after a discount or while an invoice stands open.
    """

    basis: ProrationBasis
    price: Money
    since: AwareDatetime
    paid: Money

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.price.currency != self.paid.currency:
            raise ValueError("price and payment have one currency")
        if min(self.price.minor, self.paid.minor) < 0:
            raise ValueError("price and payment are 0 or more")
        return self


class Line(_Strict):
    """One signed line: a debit of zero or above, or a credit of zero or below.

    It is for the time from `at` to the period's end, at `price` for a whole period. A credit names
    the debit that it reverses by its place among the period's lines, from 0.
    """

    kind: Literal["debit", "credit"]
    at: AwareDatetime
    price: Money
    amount: Money
    reverses: int | None = Field(default=None, ge=0)


class PriceChange(_Strict):
    """From the instant `at`, the whole period's price is `price`; 0 for what ended."""

    at: AwareDatetime
    price: Money


def charge(
    basis: ProrationBasis, price: Money, since: datetime, paid: Money | None = None
) -> Charge:
    """What begins at `since`; without `paid`, paid in full. BadInput as `factor` and `share`."""
    due = share(price, factor(basis, since))
    return Charge(basis=basis, price=price, since=since, paid=due if paid is None else paid)


def unused(running: Charge, at: datetime) -> Money:
    """What is left at `at` of what was paid: zero or above, and never more than the payment.

    Of a charge paid in full this is the price's rounded cumulative; of one paid in part, the
    payment's. What was paid beyond the price is no part of it: it is a balance already. BadInput
    before `since` or outside of the period.
    """
    if utc(at) < utc(running.since):
        raise BadInput("at", "must not lie before the charge began")
    begun, left = factor(running.basis, running.since), factor(running.basis, at)
    if running.paid.minor >= share(running.price, begun).minor:
        return share(running.price, left)
    # Less was paid than was due, so something was due: `begun` is above zero.
    minor = round_money(running.paid.minor * left / begun)
    return Money(minor=minor, currency=running.paid.currency)


def change(running: Charge, at: datetime, price: Money) -> tuple[Line, Line, Charge]:
    """The credit and the debit of one change of price, and what runs from then on, paid in full.

    The new charge counts as paid; whoever invoices it replaces `paid` by what was settled. Neither
    line says which it reverses: that is known to whoever holds the lines. BadInput as `unused`,
    Refused for another currency.
    """
    check_currency(running.price, price)
    given, begun = unused(running, at), charge(running.basis, price, at)
    back = Money(minor=-given.minor, currency=given.currency)
    return (
        Line(kind="credit", at=at, price=running.price, amount=back),
        Line(kind="debit", at=at, price=price, amount=begun.paid),
        begun,
    )


def period_lines(
    basis: ProrationBasis, price: Money, changes: Sequence[PriceChange]
) -> tuple[Line, ...]:
    """Every line of a period that opens at `price` and is paid in full: a debit, then two a change.

    `changes` in the order in which they happened; two may share an instant. BadInput for another
    order, for more than 10,000, or outside of the period; Refused for another currency.
    """
    if len(changes) > CHANGES_MAX:
        raise BadInput("changes", f"must be at most {CHANGES_MAX}")
    running = charge(basis, price, basis.period.start)
    lines = [Line(kind="debit", at=running.since, price=price, amount=running.paid)]
    for one in changes:
        reversed_at = len(lines) - 1
        back, due, running = change(running, one.at, one.price)
        lines += [back.model_copy(update={"reverses": reversed_at}), due]
    return tuple(lines)


def split(basis: ProrationBasis, price: Money, cuts: Sequence[datetime]) -> tuple[Money, ...]:
    """What each segment of a period costs that is cut at `cuts`: one more than there are cuts.

    They are zero or above and sum exactly to `price`. BadInput for cuts that are out of order or
    outside of the period.
    """
    left = [Fraction(1), *(factor(basis, cut) for cut in cuts), Fraction(0)]
    if any(utc(later) < utc(earlier) for earlier, later in pairwise(cuts)):
        raise BadInput("cuts", "must be in order")
    remaining = [share(price, one).minor for one in left]
    return tuple(
        Money(minor=before - after, currency=price.currency)
        for before, after in pairwise(remaining)
    )
