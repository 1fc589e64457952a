"""What a change that holds at once comes to: the lines of its invoice, and what runs after it. Not when it holds."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from control_plane.billing.book import Book, cycle_of
from control_plane.billing.calendar import period
from control_plane.billing.charging import (
    Component,
    components,
    credit_lines,
    period_lines,
    unused_minor,
)
from control_plane.billing.coupons import in_effect, spent_on, still_off, take_off
from control_plane.billing.proration import factor, share
from control_plane.domain.charge import PLAN
from control_plane.domain.invoice import InvoiceLine, line_id
from control_plane.domain.plans import PlanOffer
from control_plane.domain.redemption import Redemption
from control_plane.domain.terms import Running, Terms


class Changed(NamedTuple):
    """The terms that hold from then on, the lines, what runs, and the coupons that lowered them.

    `start` is that of the period that runs then.
    """

    terms: Terms
    lines: tuple[InvoiceLine, ...]
    running: tuple[Running, ...]
    coupons: tuple[Redemption, ...]
    start: datetime


def lines_of_change(
    book: Book,
    offer: PlanOffer,
    terms: Terms,
    at: datetime,
    invoice: str,
    fresh: Redemption | None = None,
) -> Changed:
    """What a change that holds at once comes to; `fresh` is a coupon that is redeemed with it."""
    known = book.subscription.terms
    runs = bool(book.subscription.running)
    wanted = components(offer, terms)
    # What was used is counted from where the plan's own charge began, or else the period did.
    counted = offer == book.offer or any(one.name == PLAN for one in wanted)
    if not runs or known is None or known.interval != terms.interval or not counted:
        terms = terms.model_copy(update={"anchor_at": at})
        began = period(at, cycle_of(terms), terms.zone, 0)
        back = credit_lines(book, book.subscription.running, invoice, at) if runs else ()
        held = in_effect(book, at, whole=True, fresh=fresh)
        lines, running = take_off(offer, held, *period_lines(offer, terms, invoice, began))
        return Changed(terms, (*back, *lines), running, held, at)
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
    kept = tuple(same.values())
    if offer != book.offer and PLAN in same:
        same[PLAN] = _since(book, same[PLAN], at)
    start = book.period.start
    held = in_effect(book, start, whole=start == at, fresh=fresh)
    lines, begun = take_off(
        offer,
        held,
        tuple(line for line, _ in debits if line.amount_minor),
        tuple(one for _, one in debits),
        left=factor(basis, at),
        spent=spent_on(book, kept, at),
    )
    running = tuple(sorted((*same.values(), *begun), key=lambda one: one.component))
    return Changed(terms, (*back, *lines), running, held, start)


def _since(book: Book, one: Running, at: datetime) -> Running:
    # The same price on another plan: what was used is counted from here, what is left stays as it is.
    whole = unused_minor(book, one.model_copy(update={"taken_off": ()}), at)
    off = still_off(book, one, at)
    return one.model_copy(update={"since": at, "invoiced_minor": whole, "taken_off": off})


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
