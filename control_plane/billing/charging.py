"""What a plan and its terms come to, as lines of an invoice. Not when they are due, and not a change of plan.

What is agreed on is charged ahead of its period, what was used after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from control_plane.billing.book import Book
from control_plane.billing.calendar import Period
from control_plane.billing.proration import ProrationBasis, factor, share
from control_plane.billing.segments import Charge, unused
from control_plane.domain.charge import PLAN, SEATS
from control_plane.domain.invoice import InvoiceLine, LineKind, line_id
from control_plane.domain.money import Money
from control_plane.domain.plans import PlanOffer
from control_plane.domain.prices import Price, price_line
from control_plane.domain.terms import Running, Terms, Unbilled, money
from control_plane.errors import BadInput, Refused

ADVANCE: Final[frozenset[LineKind]] = frozenset(
    {"base", "seats", "add_on", "proration_credit", "proration_debit", "discount"}
)
"""Lines for service still to come; the others are for service that was given."""


@dataclass(frozen=True)
class Component:
    """One thing that is charged ahead: its name, how many, and what a whole period of it costs."""

    name: str
    kind: LineKind
    title: str
    quantity: int
    price: Money


def components(offer: PlanOffer, terms: Terms) -> tuple[Component, ...]:
    """Everything that the terms charge ahead, in a fixed order; empty where the plan is free.

    Refused (`interval_not_offered`, `currency_not_offered`, `add_on_not_offered`); BadInput for
    more of an add-on than the plan lets one have.
    """
    if not offer.charges:
        return ()
    found = [_component(offer, terms, PLAN, "base", offer.title, 1)]
    if offer.charge(SEATS, terms.interval) is not None:
        found.append(_component(offer, terms, SEATS, "seats", "Seats", terms.seats))
    for taken in terms.add_ons:
        offered = next((one for one in offer.add_ons if one.name == taken.name), None)
        if offered is None:
            raise Refused(
                "The plan has no such add-on.",
                code="add_on_not_offered",
                rule="catalog.plans",
                fact="add_ons",
            )
        if taken.quantity > offered.quantity_max:
            raise BadInput(f"add_ons.{offered.name}", f"must be at most {offered.quantity_max}")
        found.append(
            _component(offer, terms, offered.name, "add_on", offered.title, taken.quantity)
        )
    return tuple(one for one in found if one is not None)


def _component(
    offer: PlanOffer, terms: Terms, name: str, kind: LineKind, title: str, quantity: int
) -> Component | None:
    price = price_of(offer, terms, name)
    if price is None:
        return None
    return Component(name, kind, title, quantity, price_line(price, quantity).amount)


def price_of(offer: PlanOffer, terms: Terms, component: str) -> Price | None:
    """The price of a component under the terms; None where it costs nothing. Refused as above."""
    charge = offer.charge(component, terms.interval)
    if charge is not None:
        return charge.in_currency(terms.currency)
    if any(one.component == component for one in offer.charges):
        raise Refused(
            "The plan is not offered for this interval.",
            code="interval_not_offered",
            rule="catalog.plans",
            fact="interval",
        )
    return None


def recurring_minor(offer: PlanOffer, terms: Terms) -> int:
    """What a whole period costs ahead, in minor units."""
    return sum(one.price.minor for one in components(offer, terms))


def period_lines(
    offer: PlanOffer, terms: Terms, invoice: str, period: Period
) -> tuple[tuple[InvoiceLine, ...], tuple[Running, ...]]:
    """The lines of a whole period, and what runs from its start on."""
    lines = tuple(
        InvoiceLine(
            id=line_id(invoice, one.kind, one.name),
            invoice=invoice,
            kind=one.kind,
            reference=one.name,
            description=one.title,
            quantity=Decimal(one.quantity),
            amount_minor=one.price.minor,
            currency=terms.currency,
            period_start=period.start,
            period_end=period.end,
        )
        for one in components(offer, terms)
    )
    running = tuple(
        Running(
            component=line.reference,
            price_minor=line.amount_minor,
            since=period.start,
            invoiced_minor=line.amount_minor,
            line=line.id,
        )
        for line in lines
    )
    return lines, running


def usage_lines(book: Book, due: Unbilled) -> tuple[InvoiceLine, ...]:
    """What was used, by meter and at the rates of then: a line each, and one for its minimum."""
    offer = book.sources.plans.offer(due.plan, due.plan_version)
    used = book.sources.usage(due.start, due.end)
    lines: list[InvoiceLine] = []
    for meter in sorted(_meters(offer)):
        price = price_of(offer, due.terms, meter)
        if price is None:
            continue
        priced = price_line(price, used.get(meter, Decimal(0)))
        used_minor = priced.amount.minor - priced.top_up.minor
        if price.model == "flat":
            used_minor = _part_minor(offer, due, used_minor)
        least_minor = _part_minor(offer, due, price.minimum_minor)
        parts: tuple[tuple[LineKind, str, int], ...] = (
            ("usage", f"Usage: {meter}", used_minor),
            ("minimum", f"Minimum: {meter}", max(0, least_minor - used_minor)),
        )
        lines += [
            InvoiceLine(
                id=line_id(due.invoice, kind, meter),
                invoice=due.invoice,
                kind=kind,
                reference=meter,
                description=description,
                quantity=priced.quantity,
                amount_minor=amount_minor,
                currency=due.terms.currency,
                period_start=due.start,
                period_end=due.end,
            )
            for kind, description, amount_minor in parts
            if amount_minor
        ]
    return tuple(lines)


def _part_minor(offer: PlanOffer, due: Unbilled, whole_minor: int) -> int:
    """What of an amount for a period is for the time that is billed.

    The difference of two rounded cumulatives: the parts of a period sum exactly to the whole.
    """
    if due.period_start is None or due.period_end is None:
        return whole_minor
    period = Period(index=0, start=due.period_start, end=due.period_end)
    basis = ProrationBasis(period=period, mode=offer.proration, zone=due.terms.zone)
    price = money(whole_minor, due.terms)
    # A debt holds renewals up: then what was used after the period counts to it too.
    before, after = (
        share(price, factor(basis, min(at, due.period_end))) for at in (due.start, due.end)
    )
    return before.minor - after.minor


def has_periods(offer: PlanOffer, terms: Terms) -> bool:
    """Whether anything is billed: ahead of a period or, where all is paid by use, after it."""
    return is_metered(offer) or bool(components(offer, terms))


def same_meters(had: PlanOffer, has: PlanOffer, terms: Terms) -> bool:
    """Whether both charge for the same meters at the same rates."""
    names = _meters(had)
    return names == _meters(has) and all(
        price_of(had, terms, one) == price_of(has, terms, one) for one in names
    )


def is_metered(offer: PlanOffer) -> bool:
    """Whether the plan charges for what was used."""
    return bool(_meters(offer))


def _meters(offer: PlanOffer) -> set[str]:
    ahead = {PLAN, SEATS, *(one.name for one in offer.add_ons)}
    return {one.component for one in offer.charges} - ahead


def credit_lines(
    book: Book, running: Iterable[Running], invoice: str, at: datetime
) -> tuple[InvoiceLine, ...]:
    """What is given back at `at` of what runs to the period's end: one line each, zero or below."""
    lines: list[InvoiceLine] = []
    for one in running:
        left = unused_minor(book, one, at)
        if not left:
            continue
        lines.append(
            InvoiceLine(
                id=line_id(invoice, "proration_credit", one.component),
                invoice=invoice,
                kind="proration_credit",
                reference=one.component,
                description=f"Unused time: {one.component}",
                amount_minor=-left,
                currency=book.terms.currency,
                period_start=at,
                period_end=book.subscription.current_period_end,
                reverses=one.line or None,
            )
        )
    return tuple(lines)


def unused_minor(book: Book, one: Running, at: datetime) -> int:
    """What is left at `at` of what was invoiced for a component: never more, and nothing once it is over."""
    # A debt holds renewals up: then the last period may be over for weeks.
    if at >= book.period.end:
        return 0
    charge = Charge(
        basis=book.basis,
        price=money(one.price_minor, book.terms),
        since=one.since,
        paid=money(one.charged_minor, book.terms),
    )
    return unused(charge, at).minor


def carried_line(invoice: str, surplus: Money) -> InvoiceLine:
    """What an invoice gives back beyond what it charges, carried to the tenant's credit."""
    return InvoiceLine(
        id=line_id(invoice, "credit_carried", "balance"),
        invoice=invoice,
        kind="credit_carried",
        reference="balance",
        description="Carried to your credit",
        amount_minor=surplus.minor,
        currency=surplus.currency,
    )
