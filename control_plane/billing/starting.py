"""How a subscription begins, and begins again: trial, first invoice, a new period. Not how it goes on."""

from __future__ import annotations

from datetime import datetime, timedelta

from control_plane.billing.arrears import bill, close_draft, unbilled
from control_plane.billing.book import Book, cycle_of
from control_plane.billing.calendar import boundary, utc, zone_info
from control_plane.billing.calendar import period as period_of
from control_plane.billing.charging import components, has_periods, period_lines
from control_plane.billing.coupons import begin_period, close, in_effect, is_covered, take_off
from control_plane.billing.fixed_term import term_end
from control_plane.billing.invoicing import annul, recognise
from control_plane.billing.taxing import taxed
from control_plane.domain.invoice import invoice_id
from control_plane.domain.plans import PlanOffer, Trial
from control_plane.domain.subscription import INCOMPLETE_OPEN, SUBSCRIPTION
from control_plane.domain.terms import Terms, Unbilled
from control_plane.errors import BadInput, Refused

_DAY = timedelta(days=1)


def check_terms(offer: PlanOffer, terms: Terms) -> None:
    """Refused or BadInput where the plan is not offered on such terms."""
    zone_info(terms.zone)
    components(offer, terms)
    if terms.seats > offer.quotas.seats_max:
        raise BadInput("seats", "must be at most what the plan lets a tenant have")


def start(book: Book, at: datetime, *, first: bool = True) -> None:
    """Begin a `scheduled` subscription at `at`: with a trial, with an invoice, or with nothing due.

    A trial is had once, and only before a `first` subscription is billed. Refused
    (`payment_method_required`) where the terms collect by themselves and there is no method.
    """
    SUBSCRIPTION.next(book.subscription.state, "start")
    trial = _trial(book) if first else None
    if has_periods(book.offer, book.terms):
        _require_method(book, needed=trial is None or trial.method_required)
    begin_at(book, at, first=first)


def begin_at(book: Book, at: datetime, *, first: bool = True) -> None:
    """The same when its instant has come by itself: nobody is there to be refused.

    Without a method there is no trial that needs one, and the first invoice waits for it.
    """
    offer = book.offer
    if not has_periods(offer, book.terms):
        book.fire("start_paid", at)
        return
    trial = _trial(book) if first else None
    if trial is not None and not (trial.method_required and _lacks_method(book)):
        ends = utc(at) + trial.days * _DAY
        book.fire(
            "start_trial",
            at,
            trial_ends_at=ends,
            current_period_start=at,
            current_period_end=ends,
        )
        return
    book.revise(term_ends_at=term_end(offer, book.terms.model_copy(update={"anchor_at": at})))
    by_invoice = book.terms.collection == "by_invoice"
    open_period(book, at)
    if by_invoice or _first_minor(book, at) <= book.credit_minor:
        book.fire("start_paid", at)
    else:
        book.fire("start", at, incomplete_ends_at=utc(at) + INCOMPLETE_OPEN)
    bill_period(book, at)


def _first_minor(book: Book, at: datetime) -> int:
    """What the invoice of the period that begins at `at` comes to, discounts and tax in it."""
    named = invoice_id(book.subscription.id, at)
    charged = period_lines(book.offer, book.terms, named, book.period)
    lines, _ = take_off(book.offer, in_effect(book, at, whole=True), *charged)
    return sum(one.amount_minor for one in taxed(book, named, lines, at)[0])


def end_trial(book: Book, at: datetime) -> None:
    """The trial is over and there is a way to pay: the first period begins, with its invoice."""
    book.fire("end_trial", at)
    anchored = book.terms.model_copy(update={"anchor_at": at})
    book.revise(term_ends_at=term_end(book.offer, anchored))
    open_period(book, at)
    bill_period(book, at)


def reopen(book: Book, event: str, at: datetime) -> None:
    """Active again after a pause or a debt, with a new period from `at` on if the last one is over."""
    ends = book.subscription.current_period_end
    if ends is not None and ends > at:
        book.fire(event, at)
        return
    if book.subscription.terms is None:
        # Free: it has no periods.
        book.fire(event, at, paused_until=None)
        return
    if invoice_id(book.subscription.id, at) in book.invoices:
        raise Refused(
            "A period began at this very instant: ask again.",
            code="same_instant",
            rule="subscription.period",
            fact="current_period_start",
        )
    close_draft(book, at)
    recognise(book, at)
    waits = unbilled(book, at, invoice_id(book.subscription.id, at))
    book.fire(event, at, paused_until=None)
    if book.subscription.term_ends_at is None and has_periods(book.offer, book.terms):
        # A trial that was paused has had no term yet.
        anchored = book.terms.model_copy(update={"anchor_at": at})
        book.revise(term_ends_at=term_end(book.offer, anchored))
    if has_periods(book.offer, book.terms):
        open_period(book, at)
        bill_period(book, at, waits)


def expire_incomplete(book: Book, at: datetime) -> None:
    """The first invoice was not paid in time: it is void, and nothing came of it."""
    book.fire("expire_incomplete", at, running=())
    for invoice in book.owed():
        annul(book, invoice, at, "cancellation")
    close(book, at, unused=True)
    recognise(book, at)


def open_period(book: Book, at: datetime) -> None:
    """A new period from `at` on: periods are counted from there."""
    terms = book.terms.model_copy(update={"anchor_at": at})
    began = period_of(at, cycle_of(terms), terms.zone, 0)
    book.revise(
        terms=terms,
        current_period_start=began.start,
        current_period_end=began.end,
    )


def next_boundary(terms: Terms, end: datetime) -> datetime:
    """Where the period ends that begins at `end`, a boundary of the terms' own periods."""
    cycle = cycle_of(terms)
    index = 1
    # By the anchor, so that a day 31 comes back after February; the ends that lie between are few
    # enough to be looked for: a century has 1,200 months.
    while boundary(terms.anchor_at, cycle, terms.zone, index) <= end:
        index += 1
    return boundary(terms.anchor_at, cycle, terms.zone, index)


def bill_period(book: Book, at: datetime, waits: Unbilled | None = None) -> None:
    """The invoice of the period that runs, with what was used before it and `waits` for one."""
    period = book.period
    named = invoice_id(book.subscription.id, period.start)
    lines, running = period_lines(book.offer, book.terms, named, period)
    lines, running = begin_period(book, period.start, lines, running)
    book.revise(running=running)
    bill(book, at, named, lines, (period.start, period.end), waits)


def _trial(book: Book) -> Trial | None:
    # That one was had stays written down for as long as there is a subscription.
    return book.offer.trial if book.subscription.trial_ends_at is None else None


def _lacks_method(book: Book) -> bool:
    by_itself = book.terms.collection == "automatic" and book.subscription.method is None
    # Where nothing will ever be due, there is nothing to collect from a method.
    return by_itself and not is_covered(book)


def _require_method(book: Book, *, needed: bool) -> None:
    if needed and _lacks_method(book):
        raise Refused(
            "A payment method is needed first.",
            code="payment_method_required",
            rule="subscription.method",
            fact="method",
        )
