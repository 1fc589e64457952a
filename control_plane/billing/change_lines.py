"""What a change that holds at once comes to: the lines of its invoice, and what runs after it. Not when it holds."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from control_plane.billing.book import Book, cycle_of
from control_plane.billing.calendar import period
from control_plane.billing.charging import (
    Component,
    components,
    credit_lines,
    period_lines,
    unused_minor,
)
from control_plane.billing.proration import factor, share
from control_plane.domain.charge import PLAN
from control_plane.domain.invoice import InvoiceLine, line_id
from control_plane.domain.plans import PlanOffer
from control_plane.domain.terms import Running, Terms


def lines_of_change(
    book: Book, offer: PlanOffer, terms: Terms, at: datetime, invoice: str
) -> tuple[Terms, tuple[InvoiceLine, ...], tuple[Running, ...]]:
    """The lines of a change that holds at once, and what runs after it."""
    known = book.subscription.terms
    runs = bool(book.subscription.running)
    wanted = components(offer, terms)
    # What was used is counted from where the plan's own charge began, or else the period did.
    counted = offer == book.offer or any(one.name == PLAN for one in wanted)
    if not runs or known is None or known.interval != terms.interval or not counted:
        terms = terms.model_copy(update={"anchor_at": at})
        began = period(at, cycle_of(terms), terms.zone, 0)
        back = credit_lines(book, book.subscription.running, invoice, at) if runs else ()
        lines, running = period_lines(offer, terms, invoice, began)
        return terms, (*back, *lines), running
    new = {one.name: one for one in wanted}
    # What is measured otherwise from here on is given back by one measure and charged by the other.
    alike = offer.proration == book.offer.proration
    same = {
        one.component: one
        for one in book.subscription.running
        if alike and one.component in new and new[one.component].price.minor == one.price_minor
    }
    gone = tuple(one for one in book.subscription.running if one.component not in same)
    back = credit_lines(book, gone, invoice, at)
    basis = book.basis.model_copy(update={"mode": offer.proration})
    debits = [
        _debit(book, one, factor(basis, at), at, invoice)
        for one in new.values()
        if one.name not in same
    ]
    if offer != book.offer and PLAN in same:
        same[PLAN] = _since(book, same[PLAN], at)
    running = (*same.values(), *(one for _, one in debits))
    lines = (*back, *(line for line, _ in debits if line.amount_minor))
    return terms, lines, tuple(sorted(running, key=lambda one: one.component))


def _since(book: Book, one: Running, at: datetime) -> Running:
    # The same price on another plan: what was used is counted from here, what is left stays as it is.
    return one.model_copy(update={"since": at, "invoiced_minor": unused_minor(book, one, at)})


def _debit(
    book: Book, one: Component, left: Fraction, at: datetime, invoice: str
) -> tuple[InvoiceLine, Running]:
    due = share(one.price, left)
    line = InvoiceLine(
        id=line_id(invoice, "proration_debit", one.name),
        invoice=invoice,
        kind="proration_debit",
        reference=one.name,
        description=f"{one.title} to the period's end",
        quantity=Decimal(one.quantity),
        amount_minor=due.minor,
        currency=due.currency,
        period_start=at,
        period_end=book.subscription.current_period_end,
    )
    runs = Running(
        component=one.name,
        price_minor=one.price.minor,
        since=at,
        invoiced_minor=due.minor,
        line=line.id,
    )
    return line, runs
