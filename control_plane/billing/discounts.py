"""What coupons take off a set of charges, line by line. Not whether a coupon may be redeemed.

Percentages come first and amounts after them, each by the coupon's code: the same coupons take off
the same, however they are listed. Each takes from what those before it left, so that no charge goes
below zero, and its parts are differences of rounded cumulatives, in the order of the charges' ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.charge import Slug
from control_plane.domain.coupon import Coupon, CouponCode
from control_plane.domain.invoice import LINES_MAX, BillingId, InvoiceLine, line_id
from control_plane.domain.money import Money, round_money
from control_plane.errors import BadInput, Refused

COUPONS_MAX = 20  # on one invoice


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Discountable(_Strict):
    """A charge that coupons may lower: zero or above, and of one plan.

    What a change of plan gives back is none: it is measured by what was paid, discounts included.
    """

    id: BillingId
    plan: Slug
    amount: Money

    @model_validator(mode="after")
    def _charges(self) -> Self:
        if self.amount.minor < 0:
            raise ValueError("a charge is 0 or more")
        return self


class DiscountLine(_Strict):
    """What one coupon takes off one charge: below zero, and never more than is left of it."""

    coupon: CouponCode
    title: str = Field(min_length=1, max_length=80)
    charge: BillingId
    amount: Money


def discount_lines(
    coupons: Sequence[Coupon], charges: Sequence[Discountable]
) -> tuple[DiscountLine, ...]:
    """What all of `coupons` take off `charges`; nothing is said where nothing is taken.

    A percentage of the whole is rounded once; an amount is capped by what is left of the charges
    that it is for, and shared out by their size. Refused (`two_currencies`, `coupon_currency`);
    BadInput for a coupon or a charge that stands twice, and for too many.
    """
    currency = _check(coupons, charges)
    ordered = sorted(charges, key=lambda one: one.id)
    left = {one.id: one.amount.minor for one in ordered}
    lines: list[DiscountLine] = []
    for coupon in sorted(coupons, key=_rank):
        own = [one.id for one in ordered if coupon.is_for(one.plan) and left[one.id]]
        for charge, taken in zip(own, _taken(coupon, [left[one] for one in own]), strict=True):
            left[charge] -= taken
            if taken:
                lines.append(_line(coupon, charge, Money(minor=-taken, currency=currency)))
    return tuple(lines)


def _rank(coupon: Coupon) -> tuple[bool, str]:
    return coupon.percent_off is None, coupon.code


def _taken(coupon: Coupon, left: list[int]) -> list[int]:
    """What the coupon takes from each of what is left; none is above what it is taken from."""
    whole = sum(left)
    if not whole:
        return [0] * len(left)
    if coupon.percent_off is not None:
        rate = Fraction(coupon.percent_off) / 100
    else:
        assert coupon.amount_off is not None
        rate = Fraction(min(coupon.amount_off.minor, whole), whole)
    seen, done, taken = 0, 0, list[int]()
    for amount in left:
        seen += amount
        upto = round_money(seen * rate)
        taken.append(upto - done)
        done = upto
    return taken


def _check(coupons: Sequence[Coupon], charges: Sequence[Discountable]) -> str:
    if len(coupons) > COUPONS_MAX:
        raise BadInput("coupons", f"must be at most {COUPONS_MAX}")
    if len(charges) > LINES_MAX:
        raise BadInput("charges", f"must be at most {LINES_MAX}")
    if len({one.code for one in coupons}) != len(coupons):
        raise BadInput("coupons", "each coupon stands only once")
    if len({one.id for one in charges}) != len(charges):
        raise BadInput("charges", "each charge stands only once")
    currencies = {one.amount.currency for one in charges}
    if len(currencies) > 1:
        raise _refused("charges in two currencies are never added", code="two_currencies")
    amounts = {one.amount_off.currency for one in coupons if one.amount_off is not None}
    if currencies and amounts - currencies:
        raise _refused("the coupon is in another currency", code="coupon_currency")
    return next(iter(currencies), "")


def _refused(message: str, *, code: str) -> Refused:
    return Refused(message, code=code, rule="discount.currency", fact="currency")


def _line(coupon: Coupon, charge: str, amount: Money) -> DiscountLine:
    return DiscountLine(coupon=coupon.code, title=coupon.title, charge=charge, amount=amount)


def invoice_line(invoice: str, discount: DiscountLine) -> InvoiceLine:
    """The line of an invoice for one discount; its id is the same each time it is made."""
    reference = f"{discount.coupon}:{discount.charge}"
    return InvoiceLine(
        id=line_id(invoice, "discount", reference),
        invoice=invoice,
        kind="discount",
        reference=reference,
        description=f"{discount.title} ({discount.coupon})",
        amount_minor=discount.amount.minor,
        currency=discount.amount.currency,
    )
