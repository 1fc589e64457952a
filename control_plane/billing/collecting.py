"""How an invoice is collected: an attempt begun, its outcome taken in, what follows. Not the provider that is asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from control_plane.billing.book import UPGRADE_OPEN_H, Book
from control_plane.billing.calendar import utc
from control_plane.billing.dunning import next_attempt, next_question
from control_plane.billing.invoicing import receive
from control_plane.billing.plan_change import drop_change, is_under_way, settle_change
from control_plane.billing.provider import submitted
from control_plane.billing.starting import reopen
from control_plane.domain.invoice import INVOICE, Invoice
from control_plane.domain.money import Money
from control_plane.domain.payment import IN_FLIGHT, PAYMENT, PaymentAttempt, attempt_id
from control_plane.domain.subscription import SUBSCRIPTION
from control_plane.errors import Refused

ANSWER_MAX: Final = timedelta(minutes=5)  # as the machine's watch over an attempt that went out
# From one question to the next while the customer has to act. Most act within minutes, or not at all.
ACTION_WAITS: Final = tuple(timedelta(minutes=n) for n in (5, 15, 60, 180, 360, 720))
ACTION_MAX: Final = timedelta(hours=UPGRADE_OPEN_H)


def attempt_due_at(book: Book, invoice: Invoice) -> datetime | None:
    """When to try next to collect an invoice; None where nothing comes by itself.

    By invoice nothing is tried, and what must be paid before a change holds is tried once.
    """
    subscription = book.subscription
    if invoice.due_minor <= 0 or invoice.state != "open":
        return None
    if subscription.terms is None or subscription.terms.collection == "by_invoice":
        return None
    if subscription.collection_paused:
        return None
    tried = book.attempts_of(invoice.id)
    change = subscription.pending_change
    if change is not None and change.invoice == invoice.id and tried:
        return None
    return next_attempt(book.offer.dunning, invoice, tried, subscription.method_set_at)


def question_due_at(book: Book, attempt: PaymentAttempt) -> datetime | None:
    """When to ask the provider about an attempt: one in processing once its deadline is over.

    One that waits for the customer is asked about at growing intervals, and closed at the last.
    """
    if attempt.state == "processing":
        return attempt.deadline_at
    if attempt.state == "action_required":
        ends = acts_until(attempt)
        if attempt.asked >= len(ACTION_WAITS):
            return ends
        spoken = attempt.heartbeat_at or attempt.changed_at
        return min(ends, spoken + ACTION_WAITS[attempt.asked])
    return next_question(book.offer.dunning, attempt)


def acts_until(attempt: PaymentAttempt) -> datetime:
    """When an attempt that waits for the customer is closed."""
    return attempt.changed_at + ACTION_MAX


def begin(book: Book, invoice_id: str, at: datetime) -> PaymentAttempt:
    """The next attempt, to be committed before the provider is asked; failed where there is no method.

    Refused (`attempt_in_flight`) while another may still succeed, `nothing_due` where nothing is
    owed.
    """
    invoice = book.invoices[invoice_id]
    if invoice.due_minor <= 0:
        raise Refused(
            "Nothing is due on the invoice.",
            code="nothing_due",
            rule="invoice.pay",
            fact="due_minor",
        )
    tried = book.attempts_of(invoice_id)
    if any(one.state in IN_FLIGHT for one in tried):
        raise Refused(
            "A payment is under way already.",
            code="attempt_in_flight",
            rule="payment.one_in_flight",
            fact="attempts",
        )
    method, number = book.subscription.method, len(tried) + 1
    attempt = PaymentAttempt(
        id=attempt_id(invoice_id, number),
        invoice=invoice_id,
        tenant=book.tenant,
        number=number,
        amount_minor=invoice.due_minor,
        currency=invoice.currency,
        provider="none" if method is None else method.provider,
        method_reference="" if method is None else method.reference,
        created_at=at,
        changed_at=at,
    )
    if method is None:
        state = PAYMENT.next(attempt.state, "fail")
        failed = {**_held(attempt), "state": state, "failure": "no_method"}
        return take_in(book, PaymentAttempt.model_validate(failed), at)
    return book.put_attempt(submitted(attempt, at, utc(at) + ANSWER_MAX))


def take_in(book: Book, attempt: PaymentAttempt, at: datetime) -> PaymentAttempt:
    """An attempt as the provider's word has left it, and all that follows. Told again, nothing does."""
    before = book.attempts.get(attempt.id)
    if before == attempt:
        return attempt
    book.put_attempt(attempt)
    if before is not None and before.state == attempt.state:
        return attempt
    amount = Money(minor=attempt.amount_minor, currency=attempt.currency)
    match attempt.state:
        case "succeeded":
            receive(book, attempt.invoice, attempt.id, amount, at)
            after_payment(book, attempt.invoice, at)
        case "failed" | "canceled":
            detail = attempt.decline_code or attempt.failure or attempt.state
            book.note(at, "payment.failed", attempt.invoice, amount, detail)
            _after_failure(book, attempt.invoice, at)
        case "action_required":
            where = attempt.action_url or ""
            book.note(at, "payment.action_required", attempt.invoice, amount, where)
        case _:
            pass
    return attempt


def after_payment(book: Book, invoice_id: str, at: datetime) -> None:
    """What a settled invoice lifts: a change that waited for it, a first start, a debt."""
    if book.invoices[invoice_id].due_minor > 0:
        return
    change = book.subscription.pending_change
    if change is not None and change.invoice == invoice_id:
        settle_change(book, at)
    elif book.subscription.state == "incomplete":
        book.fire("invoice_paid", at, incomplete_ends_at=None)
    lift(book, at, "invoice_paid")


def lift(book: Book, at: datetime, event: str) -> None:
    """Active again once nothing is overdue; after `unpaid`, with a new period."""
    state = book.subscription.state
    change = book.subscription.pending_change
    waiting = "" if change is None else change.invoice
    overdue = any(one.overdue(at) for one in book.owed() if one.id != waiting)
    if state not in ("past_due", "unpaid") or overdue:
        return
    if state == "past_due":
        book.fire(event, at)
    else:
        reopen(book, event, at)


def _after_failure(book: Book, invoice_id: str, at: datetime) -> None:
    change = book.subscription.pending_change
    if change is not None and change.invoice == invoice_id:
        if not is_under_way(book, invoice_id):
            drop_change(book, at)
        return
    invoice = book.invoices[invoice_id]
    if invoice.due_minor <= 0:
        # Void or paid otherwise meanwhile: that a payment for it failed is no debt.
        return
    if invoice.state == "open":
        INVOICE.next(invoice.state, "fail_payment")
        tried = len([one for one in book.attempts_of(invoice_id) if one.state != "canceled"])
        held = {name: getattr(invoice, name) for name in Invoice.model_fields}
        counted = {"attempts": tried, "version": invoice.version + 1}
        book.put(Invoice.model_validate({**held, **counted}))
    if "invoice_failed" in SUBSCRIPTION.legal(book.subscription.state):
        book.fire("invoice_failed", at)


def _held(attempt: PaymentAttempt) -> dict[str, object]:
    return {name: getattr(attempt, name) for name in PaymentAttempt.model_fields}
