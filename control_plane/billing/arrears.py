"""What is billed after it was used: the draft that waits for late usage, and its end. Not what is charged ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from control_plane.billing.book import Book
from control_plane.billing.calendar import utc
from control_plane.billing.charging import is_metered, usage_lines
from control_plane.billing.invoicing import drafted, finalised, own_invoice_id, recognise
from control_plane.domain.canonical import instant
from control_plane.domain.charge import PLAN
from control_plane.domain.invoice import INVOICE, Invoice, InvoiceLine
from control_plane.domain.subscription import Subscription
from control_plane.domain.terms import Unbilled

LATE_USAGE_H: Final = 1  # for which an invoice waits for usage of the period that is over


def unbilled(book: Book, at: datetime, invoice: str) -> Unbilled | None:
    """What was used up to `at` and is not yet billed, to come onto `invoice`; None where none counts."""
    subscription = book.subscription
    started = _used_since(subscription)
    if started is None or started >= at or not is_metered(book.offer):
        return None
    if subscription.state in ("trialing", "incomplete"):
        return None
    return Unbilled(
        invoice=invoice,
        plan=subscription.plan,
        plan_version=subscription.plan_version,
        terms=book.terms,
        start=started,
        end=at,
        period_start=subscription.current_period_start,
        period_end=subscription.current_period_end,
    )


def _used_since(subscription: Subscription) -> datetime | None:
    # What was used on another plan earlier in the period was billed when that plan ended.
    plan = next((one for one in subscription.running if one.component == PLAN), None)
    return subscription.current_period_start if plan is None else plan.since


def bill(
    book: Book,
    at: datetime,
    invoice: str,
    lines: tuple[InvoiceLine, ...],
    period: tuple[datetime, datetime] | None,
    waits: Unbilled | None,
) -> None:
    """An invoice with these lines: final at once, or a draft for an hour where usage is to come.

    So what was used at the very end of a period still comes onto it.
    """
    if waits is not None:
        deadline = utc(at) + timedelta(hours=LATE_USAGE_H)
        book.revise(unbilled=waits)
        book.put(drafted(book, invoice, lines, period=period, deadline=deadline))
    elif lines:
        finalised(book, drafted(book, invoice, lines, period=period), at)


def close_draft(book: Book, at: datetime) -> None:
    """Put what was used onto the draft that waits for it, and make it final; nothing where none does.

    Also before anything else changes: what comes must stand on what was invoiced.
    """
    due = book.subscription.unbilled
    if due is None:
        return
    draft = book.invoices[due.invoice]
    lines = (*_charged(draft), *usage_lines(book, due))
    book.revise(unbilled=None)
    if not lines:
        book.put(_next(draft, state=INVOICE.next(draft.state, "delete")))
        return
    INVOICE.next(draft.state, "update_lines")
    period = None
    if draft.period_start is not None and draft.period_end is not None:
        period = (draft.period_start, draft.period_end)
    whole = drafted(book, draft.id, lines, period=period, deadline=draft.collection_deadline)
    finalised(book, _next(whole, version=draft.version + 1), at)


def end_billing(book: Book, at: datetime) -> None:
    """Nothing is to run any more: what was used and is not yet billed comes onto a last invoice.

    Before the state moves: of a trial, nothing is billed.
    """
    close_draft(book, at)
    named = own_invoice_id(book, f"end.{instant(at)}")
    waits = unbilled(book, at, named)
    book.revise(running=(), current_period_start=None, current_period_end=None)
    recognise(book, at)
    bill(book, at, named, (), None, waits)


def _charged(draft: Invoice) -> tuple[InvoiceLine, ...]:
    return tuple(one for one in draft.lines if one.kind != "credit_carried")


def _next(invoice: Invoice, **changes: object) -> Invoice:
    held = {name: getattr(invoice, name) for name in Invoice.model_fields}
    return Invoice.model_validate({**held, "version": invoice.version + 1, **changes})
