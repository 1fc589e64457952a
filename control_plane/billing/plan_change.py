"""A change of plan, seats or add-ons: what it comes to, and how it comes to hold. Not its infrastructure.

Preview and commit are one function, `quote`: whoever commits sends back the instant that the preview
named, and comes to the same lines. More is had at once, once it is paid; less from the period's end.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from control_plane.billing import redeeming
from control_plane.billing.arrears import bill, close_draft, unbilled
from control_plane.billing.book import UPGRADE_OPEN_H, Book, cycle_of
from control_plane.billing.calendar import period, utc
from control_plane.billing.change_lines import lines_of_change
from control_plane.billing.change_quote import Quote, Wanted
from control_plane.billing.charging import (
    has_periods,
    recurring_minor,
    same_meters,
)
from control_plane.billing.coupons import admit, count, give_back, keep, upcoming_minor
from control_plane.billing.fixed_term import require_over, term_end
from control_plane.billing.invoicing import annul, drafted, finalised, own_invoice_id, recognise
from control_plane.billing.starting import check_terms
from control_plane.billing.taxing import taxed
from control_plane.domain.canonical import instant
from control_plane.domain.gate import GATES
from control_plane.domain.invoice import Invoice
from control_plane.domain.payment import IN_FLIGHT
from control_plane.domain.plans import Direction, PlanOffer, direction
from control_plane.domain.subscription import SUBSCRIPTION, PendingChange
from control_plane.domain.terms import Terms, Unbilled
from control_plane.errors import BadInput, Failed, Refused, Unavailable


def quote(book: Book, wanted: Wanted, at: datetime, reference: str) -> Quote:
    """What the change comes to at `at`, changing nothing. `reference` names its invoice.

    Refused where it is no change (`same_plan`), where debts forbid it (`payment_overdue`), where
    the subscription is ending or waits for another change; NotFound, BadInput and Refused as the
    plan's own rules say.
    """
    offer = book.sources.plans.offer(wanted.plan, _version(book, wanted.plan))
    if redeeming.is_alone(book, wanted):
        return redeeming.quoted(book, wanted, at)
    _check_open(book)
    terms = _terms(book, wanted, at)
    check_terms(offer, terms)
    way = direction(book.offer, offer)
    _check_way(book, offer, terms, way, at)
    fresh = None
    if wanted.coupon is not None:
        fresh = admit(book, wanted.coupon, offer.name, terms.currency, at)
    common = {
        "direction": way,
        "plan": offer.name,
        "plan_version": offer.version,
        "proration_at": at,
        "recurring_minor": recurring_minor(offer, terms),
        "redeemed": fresh,
    }
    ends = book.subscription.current_period_end
    if not _grows(book, terms, way) and ends is not None:
        require_over(book.subscription, at)
        return Quote.model_validate(
            {
                **common,
                "terms": terms,
                "applies": "period_end",
                "applies_at": ends,
                "recurring_discount_minor": upcoming_minor(
                    book, offer, terms, () if fresh is None else (fresh,)
                ),
                "unfit": (*book.sources.unfit(offer, terms), *_too_many(book, offer)),
            }
        )
    named = own_invoice_id(book, reference)
    made = lines_of_change(book, offer, terms, at, named, fresh)
    terms, (lines, tax) = made.terms, taxed(book, named, made.lines, at)
    total_minor = max(0, sum(one.amount_minor for one in lines))
    credit_minor = min(total_minor, book.credit_minor_in(terms.currency))
    due_minor = total_minor - credit_minor
    waits = due_minor > 0 and terms.collection == "automatic"
    return Quote.model_validate(
        {
            **common,
            "terms": terms,
            "applies": "when_paid" if waits else "now",
            "applies_at": at,
            "lines": lines,
            "tax": tax,
            "running": made.running,
            "recurring_discount_minor": upcoming_minor(
                book, offer, terms, [one.counted(made.start) for one in made.coupons]
            ),
            "total_minor": total_minor,
            "credit_minor": credit_minor,
            "due_minor": due_minor,
        }
    )


def commit(book: Book, quoted: Quote, at: datetime, reference: str) -> Invoice | None:
    """Carry a quote out: its invoice, where there is one, and the change once nothing is to be paid.

    Refused (`does_not_fit`) for a smaller plan that is too small, `payment_method_required` where
    something is to be collected and there is nothing to collect it from.
    """
    if quoted.unfit:
        raise Refused(
            "The tenant does not fit into the plan.",
            code="does_not_fit",
            rule="subscription.fits",
            fact=quoted.unfit[0],
        )
    if quoted.applies == "when_paid" and book.subscription.method is None:
        raise Refused(
            "A payment method is needed first.",
            code="payment_method_required",
            rule="subscription.method",
            fact="method",
        )
    if redeeming.leaves_the_rest(book, quoted):
        redeeming.carried_out(book, quoted, at)
        return None
    _check_open(book)
    close_draft(book, at)
    if quoted.redeemed is not None:
        keep(book, quoted.redeemed, at)
    change = PendingChange(
        plan=quoted.plan,
        plan_version=quoted.plan_version,
        at=quoted.applies_at,
        terms=quoted.terms,
        running=quoted.running,
        coupon="" if quoted.redeemed is None else quoted.redeemed.code,
    )
    book.fire("change_plan", at, detail=quoted.plan, pending_change=change)
    if quoted.applies == "period_end":
        return None
    invoice = _invoiced(book, quoted, at, own_invoice_id(book, reference))
    if invoice is None or invoice.due_minor <= 0 or quoted.terms.collection == "by_invoice":
        apply_change(book, at)
        return invoice
    expires_at = utc(at) + timedelta(hours=UPGRADE_OPEN_H)
    waiting = {"invoice": invoice.id, "expires_at": expires_at}
    pending = book.subscription.pending_change
    assert pending is not None, "the change was just made"
    book.revise(pending_change=pending.model_copy(update=waiting))
    return invoice


def apply_change(book: Book, at: datetime) -> None:
    """The pending change holds from now on."""
    change = book.subscription.pending_change
    assert change is not None, "a change is pending"
    assert change.terms is not None, "a change names its terms"
    changes: dict[str, object] = {
        "plan": change.plan,
        "plan_version": change.plan_version,
        "terms": change.terms,
        "pending_change": None,
    }
    if book.subscription.current_period_end == change.at:
        # With the period's end, which bills what comes next.
        book.fire("apply_change", at, detail=change.plan, **changes)
        return
    offer = book.sources.plans.offer(change.plan, change.plan_version)
    used = _used_before(book, change, offer, change.terms)
    changes["running"] = change.running
    if not has_periods(offer, change.terms):
        changes |= {"current_period_start": None, "current_period_end": None}
    elif change.terms.anchor_at == change.at:
        began = period(change.at, cycle_of(change.terms), change.terms.zone, 0)
        changes |= {"current_period_start": began.start, "current_period_end": began.end}
    begins = _begins_term(book, change, change.terms)
    book.fire("apply_change", at, detail=change.plan, **changes)
    start = book.subscription.current_period_start
    if begins:
        ends = None if start is None else term_end(offer, change.terms, start)
        book.revise(term_ends_at=ends)
    if start is None:
        recognise(book, at)
    else:
        count(book, start, at, whole=start == change.at, fresh=change.coupon)
    if used is not None:
        close_draft(book, at)
        bill(book, at, used.invoice, (), None, used)


def _begins_term(book: Book, change: PendingChange, terms: Terms) -> bool:
    # Another plan has its own term, and none where it declares none; other periods count it anew.
    known = book.subscription.terms
    other = (change.plan, change.plan_version) != (
        book.subscription.plan,
        book.subscription.plan_version,
    )
    return other or known is None or known.interval != terms.interval


def _used_before(
    book: Book, change: PendingChange, offer: PlanOffer, terms: Terms
) -> Unbilled | None:
    """What was used before the change, where it is not billed with the whole period at one rate."""
    restarts = terms.anchor_at == change.at or not has_periods(offer, terms)
    if not restarts and same_meters(book.offer, offer, terms):
        return None
    return unbilled(book, change.at, own_invoice_id(book, f"used.{instant(change.at)}"))


def drop_change(book: Book, at: datetime) -> None:
    """The pending change is given up, and its invoice with it."""
    change = book.subscription.pending_change
    assert change is not None, "a change is pending"
    if "drop_change" in SUBSCRIPTION.legal(book.subscription.state):
        book.fire("drop_change", at, detail=change.plan, pending_change=None)
    else:
        book.revise(pending_change=None)
    if change.coupon:
        give_back(book, change.coupon, at)
    if change.invoice:
        annul(book, book.invoices[change.invoice], at, "cancellation")


def settle_change(book: Book, at: datetime) -> None:
    """Its invoice is paid: the change holds, or is credited where its period is over already."""
    change = book.subscription.pending_change
    assert change is not None, "a change is pending"
    assert change.terms is not None, "a change names its terms"
    started = book.subscription.current_period_start
    if started is None:
        # A first plan: the period that it paid for is its own.
        cycle, zone = cycle_of(change.terms), change.terms.zone
        over = period(change.at, cycle, zone, 0).end <= at
    else:
        over = started > change.at
    if over:
        drop_change(book, at)
        return
    apply_change(book, at)


def take_due_change(book: Book, at: datetime) -> None:
    """At a period's end: the change that was to come with it, if the tenant still fits.

    One that waits for its payment is given up, unless the payment is under way.
    """
    change = book.subscription.pending_change
    if change is None or change.terms is None:
        return
    if change.invoice:
        if not is_under_way(book, change.invoice):
            drop_change(book, at)
        return
    offer = book.sources.plans.offer(change.plan, change.plan_version)
    unfit = book.sources.unfit(offer, change.terms) or _too_many_at_end(book, offer)
    if unfit:
        book.note(at, "subscription.change_unfit", detail=unfit[0])
        drop_change(book, at)
        return
    apply_change(book, at)


def _too_many(book: Book, offer: PlanOffer) -> tuple[str, ...]:
    return ("records",) if book.sources.records() > offer.quotas.records_max else ()


def _too_many_at_end(book: Book, offer: PlanOffer) -> tuple[str, ...]:
    try:
        return _too_many(book, offer)
    except (Unavailable, Failed):
        # A period ends whether or not the tenant's database answers. Records that are too many
        # stay, and none is added.
        return ()


def is_under_way(book: Book, invoice: str) -> bool:
    """Whether a payment for it may still come: then it is neither void nor given up."""
    return any(one.state in IN_FLIGHT for one in book.attempts_of(invoice))


# what is asked for -----------------------------------------------------------------------------


def _version(book: Book, plan: str) -> int | None:
    # Seats on the plan that one has are had on its own version; a change of plan goes to the newest.
    return book.subscription.plan_version if plan == book.subscription.plan else None


def _check_open(book: Book) -> None:
    if book.subscription.state in ("past_due", "unpaid"):
        raise _overdue()
    SUBSCRIPTION.next(book.subscription.state, "change_plan")
    if book.subscription.pending_change is not None:
        raise Refused(
            "Another change is pending.",
            code="change_pending",
            rule="subscription.pending_change",
            fact="pending_change",
        )
    if book.subscription.cancel_at_period_end:
        raise Refused(
            "The subscription is ending: keep it first.",
            code="already_ending",
            rule="subscription.cancel_at_period_end",
            fact="cancel_at_period_end",
        )


def _terms(book: Book, wanted: Wanted, at: datetime) -> Terms:
    known = book.subscription.terms
    if known is None:
        if wanted.currency is None:
            raise BadInput("currency", "is needed for a first plan with a price")
        known = Terms(currency=wanted.currency, anchor_at=at)
    if wanted.currency is not None and wanted.currency != known.currency:
        raise Refused(
            "A change keeps the currency.", code="two_currencies", rule="proration.currency"
        )
    given = {
        name: value
        for name in ("interval", "seats", "add_ons")
        if (value := getattr(wanted, name)) is not None
    }
    return known.model_copy(update=given)


def _check_way(book: Book, offer: PlanOffer, terms: Terms, way: Direction, at: datetime) -> None:
    if way == "same" and offer == book.offer and terms == book.subscription.terms:
        raise Refused(
            "This is what the subscription is already.",
            code="same_plan",
            rule="subscription.change",
            fact="plan",
        )
    blocked = GATES[book.subscription.gate_level(at)].blocks
    if "upgrade" in blocked and _grows(book, terms, way):
        raise _overdue()


def _overdue() -> Refused:
    return Refused(
        "What is overdue must be paid first.",
        code="payment_overdue",
        rule="dunning.blocks",
        fact="gates",
    )


def _grows(book: Book, terms: Terms, way: Direction) -> bool:
    """Whether more is had than before: by rank alone between plans, else by quantities."""
    if way != "same":
        return way == "upgrade"
    known = book.subscription.terms
    if known is None:
        return True
    had = {one.name: one.quantity for one in known.add_ons}
    more = any(one.quantity > had.get(one.name, 0) for one in terms.add_ons)
    return more or terms.seats > known.seats


# what is booked -------------------------------------------------------------------------------


def _invoiced(book: Book, quoted: Quote, at: datetime, invoice: str) -> Invoice | None:
    if not quoted.lines:
        return None
    if book.subscription.terms is None:
        # The first terms: what is booked from here on has a currency.
        book.revise(terms=quoted.terms)
    began = quoted.proration_at
    if quoted.terms.anchor_at == began != book.subscription.current_period_start:
        # A new period begins: what the old one has earned so far stays earned, whatever is paid.
        back_minor = sum(one.amount_minor for one in quoted.lines if one.kind == "proration_credit")
        recognise(book, at, keep_minor=-back_minor)
    return finalised(book, drafted(book, invoice, quoted.lines, tax=quoted.tax), at)
