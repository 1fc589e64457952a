"""The coupons of a book: which hold in a period, what that takes off its charges, how each begins and ends. Not how much one takes.

A coupon's first period is the first that is charged as a whole after it was redeemed, or the rest of
the one that runs where it was redeemed with a change that charges it. What runs on unchanged keeps
what it was charged. An amount is taken off a whole period: of a part of one, the same part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Final

from control_plane.billing.book import Book
from control_plane.billing.charging import components, is_metered, unused_minor
from control_plane.billing.discounts import COUPONS_MAX, Discountable, discount_lines, invoice_line
from control_plane.domain.coupon import Coupon, refuse_redemption
from control_plane.domain.invoice import InvoiceLine, LineKind
from control_plane.domain.money import Money, round_money
from control_plane.domain.plans import PlanOffer
from control_plane.domain.redemption import Redemption, redeem
from control_plane.domain.terms import Running, TakenOff, Terms
from control_plane.errors import Refused

_LOWERED: Final[frozenset[LineKind]] = frozenset({"base", "seats", "add_on", "proration_debit"})
_WHOLE: Final = Fraction(1)


# which hold ------------------------------------------------------------------------------------


def admit(book: Book, code: str, plan: str, currency: str, at: datetime) -> Redemption:
    """The redemption that a code comes to, changing nothing.

    Refused: `coupon_not_found`, `coupon_redeemed`, `coupons_too_many`, and as `refuse_redemption`.
    """
    coupon = book.sources.coupons.coupon(code)
    if code in book.redemptions:
        raise redeemed_already()
    if sum(1 for one in book.redemptions.values() if one.ended_at is None) >= COUPONS_MAX:
        raise _refused("The tenant has too many coupons.", code="coupons_too_many")
    redeemed = book.sources.redeemed(code)
    refused = refuse_redemption(coupon, plan=plan, currency=currency, redeemed=redeemed, at=at)
    if refused is not None:
        raise refused
    return redeem(book.tenant, coupon, at)


def standing(book: Book) -> tuple[Redemption, ...]:
    """Those that are not over, by their codes, but for one that waits with a change."""
    change = book.subscription.pending_change
    waits = "" if change is None else change.coupon
    return tuple(
        one
        for code, one in sorted(book.redemptions.items())
        if one.ended_at is None and code != waits
    )


def in_effect(
    book: Book, start: datetime, *, whole: bool, fresh: Redemption | None = None
) -> tuple[Redemption, ...]:
    """Those that take something off what is charged in the period that begins at `start`.

    `whole`: all of it is charged. Of a part, only those that have held in it, and the `fresh` one.
    """
    found = [
        one for one in standing(book) if (whole or one.period_start == start) and one.runs_in(start)
    ]
    return tuple(found) if fresh is None else (*found, fresh)


# what they take off ----------------------------------------------------------------------------


def whole_minor(offer: PlanOffer, terms: Terms, coupons: Iterable[Coupon]) -> int:
    """What coupons take off a whole period, in minor units, zero or above."""
    charges = [_charge(one.name, offer, one.price) for one in components(offer, terms)]
    found = discount_lines([*coupons], charges)
    return -sum(one.amount.minor for one in found)


def covers(coupons: Iterable[Coupon], offer: PlanOffer, terms: Terms) -> bool:
    """Whether coupons that never end take off all that the plan charges: then nothing falls due.

    What is paid by use no coupon lowers: with a price for it there is always something to collect.
    """
    lasting = [one for one in coupons if one.duration == "forever" and one.is_for(offer.name)]
    if not lasting or is_metered(offer):
        return False
    charged_minor = sum(one.price.minor for one in components(offer, terms))
    return whole_minor(offer, terms, lasting) >= charged_minor


def is_covered(book: Book) -> bool:
    """The same of the plan that the subscription is on, by the coupons that it holds."""
    return covers((one.coupon for one in standing(book)), book.offer, book.terms)


def upcoming_minor(book: Book, offer: PlanOffer, terms: Terms, others: Iterable[Redemption]) -> int:
    """What coupons take off the next period; `others` are as they stand, where not as in the book."""
    after = {one.code: one for one in (*standing(book), *others)}.values()
    return whole_minor(offer, terms, [one.coupon for one in after if one.runs_next])


def take_off(
    offer: PlanOffer,
    held: Iterable[Redemption],
    lines: tuple[InvoiceLine, ...],
    running: tuple[Running, ...],
    *,
    left: Fraction = _WHOLE,
    spent: Mapping[str, int] | None = None,
) -> tuple[tuple[InvoiceLine, ...], tuple[Running, ...]]:
    """The lines with the discounts on them, and what runs with what was taken off it.

    `left` is the share of the period that is charged, and `spent` what amounts off have given to
    that share of what runs on, by their codes.
    """
    charges = [
        _charge(one.reference, offer, Money(minor=one.amount_minor, currency=one.currency))
        for one in lines
        if one.kind in _LOWERED
    ]
    parts = (_part(one.coupon, left, (spent or {}).get(one.code, 0)) for one in held)
    found = discount_lines([one for one in parts if one is not None], charges)
    if not found:
        return lines, running
    off: dict[str, list[TakenOff]] = {}
    for one in found:
        taken = TakenOff(code=one.coupon, amount_minor=-one.amount.minor)
        off.setdefault(one.charge, []).append(taken)
    lowered = tuple(
        one.model_copy(update={"taken_off": tuple(off[one.component])})
        if one.component in off
        else one
        for one in running
    )
    return (*lines, *(invoice_line(lines[0].invoice, one) for one in found)), lowered


def _charge(name: str, offer: PlanOffer, amount: Money) -> Discountable:
    return Discountable(id=name, plan=offer.name, amount=amount)


def _part(coupon: Coupon, left: Fraction, spent_minor: int) -> Coupon | None:
    """The coupon with what an amount off is for the share; None where that is used up."""
    whole = coupon.amount_off
    if whole is None:
        return coupon
    minor = round_money(whole.minor * left) - spent_minor
    if minor < 1:
        return None
    return coupon.model_copy(update={"amount_off": Money(minor=minor, currency=whole.currency)})


def still_off(book: Book, one: Running, at: datetime) -> tuple[TakenOff, ...]:
    """Of what coupons took off a component, what falls on the time from `at` on."""
    if not one.taken_off:
        return ()
    full = unused_minor(book, one.model_copy(update={"taken_off": ()}), at)
    rest = full - unused_minor(book, one, at)
    whole = one.invoiced_minor - one.charged_minor
    seen, done, found = 0, 0, list[TakenOff]()
    for taken in one.taken_off:
        seen += taken.amount_minor
        upto = round_money(Fraction(rest * seen, whole))
        if upto > done:
            found.append(TakenOff(code=taken.code, amount_minor=upto - done))
        done = upto
    return tuple(found)


def spent_on(book: Book, kept: Iterable[Running], at: datetime) -> Mapping[str, int]:
    """What each coupon gives from `at` on to what runs on unchanged, by its code, in minor units."""
    spent = Counter[str]()
    for one in kept:
        for taken in still_off(book, one, at):
            spent[taken.code] += taken.amount_minor
    return spent


# how they begin and end ------------------------------------------------------------------------


def begin_period(
    book: Book, start: datetime, lines: tuple[InvoiceLine, ...], running: tuple[Running, ...]
) -> tuple[tuple[InvoiceLine, ...], tuple[Running, ...]]:
    """A whole period that begins at `start`, with its discounts; it counts for those that hold."""
    lowered = take_off(book.offer, in_effect(book, start, whole=True), lines, running)
    count(book, start, start, whole=True)
    return lowered


def count(book: Book, start: datetime, at: datetime, *, whole: bool, fresh: str = "") -> None:
    """As of `at`, the period that begins at `start` is charged: one more of each that holds in it.

    One whose periods are over is over; one that waits for its first begins with a whole period of a
    plan that it is for, or with the change that it came with, `fresh`.
    """
    for one in standing(book):
        begins = one.coupon.is_for(book.offer.name) and (whole or one.code == fresh)
        if not (begins if one.periods == 0 else whole):
            continue
        if one.runs_in(start):
            book.redemptions[one.code] = one.counted(start)
        else:
            end(book, one, at)


def keep(book: Book, redemption: Redemption, at: datetime) -> None:
    """It is redeemed."""
    book.redemptions[redemption.code] = redemption
    book.note(at, "subscription.coupon_redeemed", detail=redemption.code)


def end(book: Book, redemption: Redemption, at: datetime) -> None:
    """It takes nothing off what is charged from now on; one that has not held yet is given back."""
    if redemption.periods == 0:
        give_back(book, redemption.code, at)
        return
    book.redemptions[redemption.code] = redemption.ended(at)
    book.note(at, "subscription.coupon_ended", detail=redemption.code)


def give_back(book: Book, code: str, at: datetime) -> None:
    """Nothing came of it: it may be redeemed again, by this tenant and by others."""
    if book.redemptions.pop(code, None) is not None:
        book.note(at, "subscription.coupon_returned", detail=code)


def held(book: Book, code: str) -> Redemption:
    """The one of that code that is not over; Refused (`coupon_not_held`)."""
    for one in standing(book):
        if one.code == code:
            return one
    raise _refused("The tenant has no such coupon.", code="coupon_not_held")


def close(book: Book, at: datetime, *, unused: bool = False) -> None:
    """The subscription is over, and its coupons with it; `unused`: nothing came of it at all."""
    for one in standing(book):
        if unused:
            give_back(book, one.code, at)
        else:
            end(book, one, at)


def redeemed_already() -> Refused:
    """The refusal of a coupon that the tenant has redeemed before."""
    return _refused("The tenant has redeemed the coupon already.", code="coupon_redeemed")


def _refused(message: str, *, code: str) -> Refused:
    return Refused(message, code=code, rule="coupon.redeem", fact="coupon")
