"""The handler that tells what time would do to a subscription, on a copy. Moves nothing, and books nothing.

A forecast is no promise: usage is what the last whole period had, and payments end as the caller
says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Final

from sqlalchemy import Connection

from control_plane.billing import usage_store
from control_plane.billing.book import Book, NextNumber, Note
from control_plane.billing.clockwork import advance
from control_plane.billing.outlook import Outlook, Payments, Stretch, expected_usage, foresee
from control_plane.billing.usage_terms import schedule_of
from control_plane.commands import Command
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.invoice import Invoice
from control_plane.domain.subscription import Subscription
from control_plane.errors import NotFound, Refused
from control_plane.handlers.billing_moves import loaded
from control_plane.handlers.declared import Catalog
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.invoices import invoices_subject
from control_plane.handlers.quota_told import quantity_told
from control_plane.subscription_commands import SimulateSubscription

SHOWN_MAX: Final = 2_000
_PLANNED: Final = "PLANNED"
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Assumed:
    """The usage that every period to come is taken to have: whose it was, and how much by meter."""

    period_start: datetime | None
    usage: Mapping[str, Decimal]


@dataclass(frozen=True)
class Forecast:
    """What was seen, the book as it stands at the end, and what was assumed."""

    outlook: Outlook
    book: Book
    assumed: Assumed
    payments: Payments
    months: int


class SimulateSubscriptionHandler(SingleAnswer):
    """Drives a copy of one tenant's billing forward, and tells what happened."""

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant's invoices, those to come included."""
        assert isinstance(command, SimulateSubscription)
        return invoices_subject(view, command.tenant)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The forecast; Refused (`plan_not_found`) where the catalog lacks a plan that it needs."""
        assert isinstance(command, SimulateSubscription)
        seen = forecast(view.connection, view.ports.catalog, command, view.ports.clock.now())
        return told(seen)


def forecast(
    connection: Connection, catalog: Catalog, command: SimulateSubscription, now: datetime
) -> Forecast:
    """What `command` asks for as of `now` (aware), on a copy within a transaction that only reads.

    NotFound without a subscription; Refused (`plan_not_found`), BadInput as `foresee`.
    """
    book = loaded(connection, catalog, command.tenant)
    book.sources = replace(book.sources, numbers=_planned_numbers())
    try:
        advance(book, now)
        assumed = _assumed(connection, book.subscription, now)
        usage = expected_usage(book.sources.usage, now, assumed.usage)
        book.sources = replace(book.sources, usage=usage)
        outlook = foresee(book, now, command.months, command.payments)
    except NotFound as error:
        # The subscription is there: what is not is a version of a plan.
        raise Refused(
            "The catalog no longer declares a version of a plan that the tenant has.",
            code="plan_not_found",
            rule="catalog.plans",
            fact="plan_version",
        ) from error
    return Forecast(outlook, book, assumed, command.payments, command.months)


def _planned_numbers() -> NextNumber:
    numbers = count(1)
    return lambda _: f"{_PLANNED}-{next(numbers)}"


def _assumed(connection: Connection, subscription: Subscription, now: datetime) -> Assumed:
    schedule = schedule_of(subscription)
    running = schedule.period_at(now)
    if running.index < 1 and subscription.terms is not None:
        return Assumed(None, {})
    start = schedule.period_at(running.start - _TICK).start
    return Assumed(start, usage_store.used(connection, subscription.tenant, start))


def told(seen: Forecast) -> dict[str, Json]:
    """A forecast as it is answered: instants and quantities as text, amounts in minor units."""
    outlook, book = seen.outlook, seen.book
    invoices = sorted(
        (one for one in book.invoices.values() if one.state != "deleted"), key=_made_out
    )
    timeline = [_note(one) for one in outlook.notes[:SHOWN_MAX]]
    start = seen.assumed.period_start
    return {
        "tenant": book.tenant,
        "since": instant(outlook.since),
        "until": instant(outlook.until),
        "months": seen.months,
        "payments": seen.payments,
        "usage_of": None if start is None else instant(start),
        "usage": [
            {"meter": meter, "quantity": quantity_told(quantity)}
            for meter, quantity in sorted(seen.assumed.usage.items())
        ],
        "timeline": [*timeline],
        "timeline_count": len(outlook.notes),
        "cut": len(outlook.notes) > SHOWN_MAX or len(invoices) > SHOWN_MAX,
        "invoices": [_invoice(one) for one in invoices[:SHOWN_MAX]],
        "states": [{"state": one.name, **_times(one)} for one in outlook.states],
        "gates": [{"level": one.name, **_times(one)} for one in outlook.gates],
        "totals": [{**vars(one)} for one in outlook.months],
        "final": _final(book, outlook.until),
    }


def _made_out(invoice: Invoice) -> tuple[str, str]:
    at = invoice.finalized_at
    # A draft comes last: nobody has it yet.
    return ("~" if at is None else instant(at)), invoice.id


def _note(note: Note) -> Json:
    return {
        "at": instant(note.at),
        "kind": note.kind,
        "reference": note.reference or None,
        "amount_minor": None if note.amount is None else note.amount.minor,
        "currency": None if note.amount is None else note.amount.currency,
        "detail": note.detail or None,
    }


def _invoice(invoice: Invoice) -> Json:
    return {
        "id": invoice.id,
        "number": invoice.number,
        "planned": invoice.number is None or invoice.number.startswith(_PLANNED),
        "at": plain(invoice.finalized_at),
        "state": invoice.state,
        "currency": invoice.currency,
        "total_minor": invoice.total_minor,
        "due_minor": invoice.due_minor,
    }


def _times(stretch: Stretch) -> dict[str, Json]:
    return {"since": instant(stretch.since), "until": instant(stretch.until)}


def _final(book: Book, at: datetime) -> Json:
    subscription, change = book.subscription, book.subscription.pending_change
    owed: dict[str, Json] = {}
    for one in book.owed():
        known = owed.get(one.currency, 0)
        assert isinstance(known, int), "an amount is whole"
        owed[one.currency] = known + one.due_minor
    credit: dict[str, Json] = {
        currency: -amount
        for (account, currency), amount in sorted(book.balances.items())
        if account == "credit_balance"
    }
    return {
        "state": subscription.state,
        "plan": subscription.plan,
        "plan_version": subscription.plan_version,
        "pending_plan": None if change is None else change.plan,
        "billing_level": subscription.gate_level(at),
        "entitled": subscription.entitled(at),
        "current_period_end": plain(subscription.current_period_end),
        "owed_minor": owed,
        "credit_minor": credit,
    }
