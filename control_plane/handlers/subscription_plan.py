"""What a move of a subscription would do, worked out on a book that is never saved. Not the move, and not its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final, TypeAlias

from sqlalchemy import Connection

from control_plane.billing.book import Book, Note, Series
from control_plane.billing.clockwork import advance
from control_plane.billing.ledger import Balances
from control_plane.commands import Command
from control_plane.domain.canonical import Json, plain
from control_plane.domain.invoice import Invoice
from control_plane.errors import BadInput, Refused
from control_plane.handlers.billing_moves import loaded
from control_plane.handlers.handler import Ports

Move: TypeAlias = Callable[[Connection, Book, Command, datetime, str], None]
"""Carries a command out on a book, as of an instant; the text names what it makes."""

# Older than this, what was worked out of money is worked out anew by whoever still wants it.
QUOTE_MAX: Final = timedelta(hours=1)
# A number is taken only when it is used: it is no part of what is planned.
_NUMBERED = frozenset({"invoice.finalised", "credit_note.issued"})


@dataclass(frozen=True)
class Planned:
    """What a move comes to: the parts of its plan, and what it moves in minor units."""

    parts: dict[str, Json]
    amount_minor: int


def planned(
    connection: Connection,
    ports: Ports,
    tenant: str,
    move: Move,
    command: Command,
    at: datetime,
    reference: str,
) -> Planned:
    """The plan of a move as of ``at``, on a copy that is brought up to now.

    Errors as the move's, and as `require_fresh`'s.
    """
    require_fresh(at, ports.clock.now())
    book = copied(connection, ports, tenant)
    return carried_out(connection, book, move, command, at, reference)


def copied(connection: Connection, ports: Ports, tenant: str) -> Book:
    """The tenant's book brought up to now, to work on and never to save: it takes no number."""
    numbers = count(1)
    book = loaded(connection, ports.catalog, tenant, ports)

    def planned_number(_series: Series) -> str:
        return f"PLANNED-{next(numbers)}"

    book.sources = replace(book.sources, numbers=planned_number)
    advance(book, ports.clock.now())
    return book


def require_fresh(at: datetime, now: datetime) -> None:
    """BadInput for an instant that is still to come, Refused (`quote_expired`) for one long past.

    Both would be had for less than they cost: what is left of a period only gets less.
    """
    if at > now:
        raise BadInput("proration_at", "must not lie in the future")
    if now - at > QUOTE_MAX:
        raise expired("as_of")


def expired(fact: str) -> Refused:
    """What was quoted no longer holds, by that fact."""
    return Refused(
        "It was worked out too long ago: ask for it again.",
        code="quote_expired",
        rule="subscription.quote",
        fact=fact,
    )


def carried_out(
    connection: Connection,
    book: Book,
    move: Move,
    command: Command,
    at: datetime,
    reference: str,
) -> Planned:
    """Do the move on a book in hand, and tell what it came to."""
    notes, balances = len(book.notes), dict(book.balances)
    known = frozenset(book.invoices)
    move(connection, book, command, at, reference)
    made = [one for name, one in sorted(book.invoices.items()) if name not in known]
    happens = [
        plain(
            {
                "at": one.at,
                "kind": one.kind,
                "amount": one.amount,
                "detail": "" if one.kind in _NUMBERED else one.detail,
            }
        )
        for one in book.notes[notes:]
    ]
    subscription = book.subscription
    change = subscription.pending_change
    parts: dict[str, Json] = {
        "money": {"happens": happens, "invoices": [_told(one) for one in made]},
        "entitlement": {
            "plan": subscription.plan,
            "plan_version": subscription.plan_version,
            "state": subscription.state,
            "pending_plan": None if change is None else change.plan,
            "waits_for_payment": change is not None and bool(change.invoice),
            "ends_with_period": subscription.cancel_at_period_end,
        },
    }
    retried = [one.amount.minor for one in book.notes[notes:] if _is_retried(one) and one.amount]
    return Planned(parts, max(_moved(balances, book, made), *retried, 0))


def _is_retried(note: Note) -> bool:
    # It moves no account before the provider has said yes.
    return note.kind == "payment.retried"


def _told(invoice: Invoice) -> Json:
    return plain(
        {
            "id": invoice.id,
            "currency": invoice.currency,
            "total_minor": invoice.total_minor,
            "due_minor": invoice.due_minor,
            "lines": [
                {
                    "kind": one.kind,
                    "reference": one.reference,
                    "amount_minor": one.amount_minor,
                }
                for one in invoice.lines
            ],
        }
    )


def _moved(before: Balances, book: Book, made: list[Invoice]) -> int:
    """The most that any one account moves, or that is to be collected."""
    accounts = before.keys() | book.balances.keys()
    shifts = [
        abs(book.balances.get(one, 0) - before.get(one, 0))
        for one in accounts
        if one[0] not in ("revenue", "deferred_revenue")
    ]
    return max((*shifts, *(one.due_minor for one in made)), default=0)
