"""A coupon redeemed or given up by itself, beside no other change: it holds, or no longer, from the next period. Not one that comes with a change."""

from __future__ import annotations

from datetime import datetime

from control_plane.billing.book import Book
from control_plane.billing.change_quote import Quote, Wanted
from control_plane.billing.charging import recurring_minor
from control_plane.billing.coupons import admit, end, held, keep, upcoming_minor
from control_plane.domain.subscription import SUBSCRIPTION
from control_plane.domain.terms import Terms
from control_plane.errors import BadInput, Refused


def is_alone(book: Book, wanted: Wanted) -> bool:
    """Whether a coupon is all that is asked for. BadInput where one is removed with other changes."""
    asked = wanted.model_dump(include=set(Terms.model_fields), exclude_none=True)
    known = book.subscription.terms
    same = known is not None and wanted.plan == book.subscription.plan
    if known is None or asked != known.model_dump(include=set(asked)):
        same = False
    if wanted.remove_coupon is None:
        return same and wanted.coupon is not None
    if not same or wanted.coupon is not None:
        raise BadInput("remove_coupon", "stands alone, with the plan as it is")
    return True


def leaves_the_rest(book: Book, quoted: Quote) -> bool:
    """Whether a quote is about a coupon alone: everything else stays as it is."""
    subscription = book.subscription
    asked = (quoted.plan, quoted.plan_version, quoted.terms)
    return asked == (subscription.plan, subscription.plan_version, subscription.terms)


def quoted(book: Book, wanted: Wanted, at: datetime) -> Quote:
    """What it comes to: nothing is due. Refused as `admit`, `held`, and as below."""
    _check_open(book)
    offer, terms = book.offer, book.terms
    redeemed, others = None, []
    if wanted.coupon is not None:
        redeemed = admit(book, wanted.coupon, offer.name, terms.currency, at)
        others = [redeemed]
    if wanted.remove_coupon is not None:
        others = [held(book, wanted.remove_coupon).ended(at)]
    ends = book.subscription.current_period_end
    return Quote(
        direction="same",
        plan=offer.name,
        plan_version=offer.version,
        terms=terms,
        proration_at=at,
        applies="now" if ends is None else "period_end",
        applies_at=at if ends is None else ends,
        running=book.subscription.running,
        recurring_minor=recurring_minor(offer, terms),
        recurring_discount_minor=upcoming_minor(book, offer, terms, others),
        redeemed=redeemed,
        removed=wanted.remove_coupon,
    )


def carried_out(book: Book, quote: Quote, at: datetime) -> None:
    """Keep the one, or end the other. What was taken off the period that runs stays."""
    _check_open(book)
    if quote.redeemed is not None:
        keep(book, quote.redeemed, at)
    if quote.removed is not None:
        end(book, held(book, quote.removed), at)


def _check_open(book: Book) -> None:
    subscription = book.subscription
    if subscription.state in ("past_due", "unpaid"):
        raise Refused(
            "What is overdue must be paid first.",
            code="payment_overdue",
            rule="dunning.blocks",
            fact="gates",
        )
    # In a trial too: what it takes off comes with the trial's end.
    if subscription.state != "trialing":
        SUBSCRIPTION.next(subscription.state, "change_plan")
    if subscription.pending_change is not None:
        raise Refused(
            "Another change is pending.",
            code="change_pending",
            rule="subscription.pending_change",
            fact="pending_change",
        )
