"""The end of a period: the next one begins, on the plan that holds from then on. Not when it is due."""

from __future__ import annotations

from datetime import datetime

from control_plane.billing.arrears import bill, close_draft, unbilled
from control_plane.billing.book import Book
from control_plane.billing.calendar import Period
from control_plane.billing.charging import has_periods, period_lines
from control_plane.billing.coupons import begin_period
from control_plane.billing.fixed_term import term_end
from control_plane.billing.invoicing import recognise
from control_plane.billing.plan_change import take_due_change
from control_plane.billing.starting import next_boundary
from control_plane.domain.invoice import invoice_id


def renew(book: Book, at: datetime) -> None:
    """The period that runs ends at `at`: what was used in it is billed with what comes next."""
    close_draft(book, at)
    recognise(book, at)
    named = invoice_id(book.subscription.id, at)
    interval, waits = book.terms.interval, unbilled(book, at, named)
    agreed = (book.offer, interval)
    take_due_change(book, at)
    book.note(at, "subscription.renewed")
    if not has_periods(book.offer, book.terms):
        nothing = {"current_period_start": None, "current_period_end": None}
        book.revise(running=(), term_ends_at=None, **nothing)
        bill(book, at, named, (), None, waits)
        return
    same = book.terms.interval == interval
    terms = book.terms if same else book.terms.model_copy(update={"anchor_at": at})
    if (book.offer, terms.interval) != agreed:
        book.revise(term_ends_at=term_end(book.offer, terms, at))
    ends = next_boundary(terms, at)
    lines, running = period_lines(book.offer, terms, named, Period(index=0, start=at, end=ends))
    lines, running = begin_period(book, at, lines, running)
    book.revise(terms=terms, current_period_start=at, current_period_end=ends, running=running)
    bill(book, at, named, lines, (at, ends), waits)
