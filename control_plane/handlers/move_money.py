"""What a move costs where it comes with another plan: booked and collected before anything is made. Not the books.

One plan, one digest, one approval: over money, infrastructure and data.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from control_plane.billing.book import Book
from control_plane.commands import Command
from control_plane.domain.canonical import Json
from control_plane.domain.plans import PlanOffer
from control_plane.domain.terms import Terms
from control_plane.errors import Failed, Refused
from control_plane.facts.load import subscription_row
from control_plane.handlers.handler import Probe, Work
from control_plane.handlers.subscription_changes import change_plan
from control_plane.handlers.subscription_plan import planned
from control_plane.handlers.subscription_steps import COLLECT as COLLECTING
from control_plane.handlers.subscription_steps import booking, instant_of
from control_plane.handlers.tenant_moves import inside_of
from control_plane.move_commands import MovedSubscription, MoveTenant


def _change(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, MovedSubscription)
    fits, proposed = book.sources.unfit, command.proposed_isolation

    def unfit(offer: PlanOffer, terms: Terms) -> tuple[str, ...]:
        # By then the tenant stands where it is to go.
        others = (one for one in fits(offer, terms) if one != "isolation")
        return (*others, *(() if proposed in offer.isolations else ("isolation",)))

    book.sources = replace(book.sources, unfit=unfit)
    change_plan(connection, book, command, at, reference)


_BOOK: Final = booking(_change, collects=True)


def money_of(work: Work) -> dict[str, Json]:
    """The money's parts of the plan, on a copy of the books; empty where the plan stays.

    Refused (`plan_comes_later`) for a plan that would hold from the period's end only.
    """
    change = _asked(work)
    if change is None:
        return {}
    with work.ports.store.read() as connection:
        at = instant_of(_of_money(work, change))
        made = planned(connection, work.ports, work.run.tenant, _change, change, at, work.run.id)
    told = made.parts["entitlement"]
    assert isinstance(told, dict), "a plan names its entitlement"
    if told["pending_plan"] is not None and not told["waits_for_payment"]:
        raise Refused(
            "The plan would hold from the period's end: change it first, and move then.",
            code="plan_comes_later",
            rule="subscription.change",
            fact="proposed_plan",
        )
    return made.parts


def book(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make the change in the books, exactly as it was approved; nothing where the plan stays."""
    change = _asked(work)
    return {} if change is None else _BOOK.do(_of_money(work, change), connection)


def unbook(work: Work, connection: Connection | None) -> None:
    """Take it back, with its invoice."""
    change = _asked(work)
    if change is not None:
        _BOOK.undo(_of_money(work, change), connection)


def collect(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Charge what is due. Failed (`payment_declined`; `payment_pending` where it is not settled now)."""
    change = _asked(work)
    if change is None:
        return {"payment": "none"}
    told = COLLECTING.do(work, connection)
    _require_in_force(work, change)
    return told


def probe_collected(work: Work) -> Probe:
    """Whether it is charged, or nothing is to be."""
    change = _asked(work)
    if change is None:
        return "present"
    seen = COLLECTING.probe(work)
    if seen == "present":
        _require_in_force(work, change)
    return seen


def plan_in_force(work: Work, connection: Connection | None) -> str:
    """The plan that the tenant's subscription is on by now."""
    held = subscription_row(inside_of(connection), work.run.tenant)
    assert held is not None, "a tenant in service has a subscription"
    return held.plan


def _require_in_force(work: Work, change: MovedSubscription) -> None:
    with work.ports.store.read() as connection:
        held = subscription_row(connection, work.run.tenant)
    if held is None or held.plan != change.plan:
        raise Failed(
            "The payment is not settled, and a move does not wait for it.", code="payment_pending"
        )


def _asked(work: Work) -> MovedSubscription | None:
    assert isinstance(work.command, MoveTenant)
    return work.command.change


def _of_money(work: Work, change: MovedSubscription) -> Work:
    return replace(work, command=change)
