"""The moves of money alone: try again, write down what came in, take back. Not what a subscription is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from control_plane.billing import book_store
from control_plane.billing.book import Book
from control_plane.billing.by_hand import close_paid
from control_plane.billing.collecting import after_payment
from control_plane.billing.invoicing import issue_credit, receive, use_credit
from control_plane.billing.refunding import promise
from control_plane.commands import Command
from control_plane.domain.money import Money
from control_plane.domain.payment import IN_FLIGHT
from control_plane.errors import Refused
from control_plane.handlers.handler import Step
from control_plane.handlers.subscription_move import SubscriptionMove
from control_plane.handlers.subscription_steps import COLLECT, REST, booking
from control_plane.subscription_commands import IssueCreditNote, RecordPayment, RetryPayment


def _retry(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, RetryPayment)
    invoice = book_store.bring(connection, book, command.invoice)
    if invoice.due_minor <= 0:
        raise Refused(
            "Nothing is due on the invoice.",
            code="nothing_due",
            rule="invoice.pay",
            fact="due_minor",
        )
    if any(one.state in IN_FLIGHT for one in book.attempts_of(invoice.id)):
        raise Refused(
            "A payment is under way already.",
            code="attempt_in_flight",
            rule="payment.one_in_flight",
            fact="attempts",
        )
    amount = Money(minor=invoice.due_minor, currency=invoice.currency)
    book.note(at, "payment.retried", invoice.id, amount)


class RetryPaymentHandler(SubscriptionMove):
    """Tries to collect an invoice now, by the method that is set."""

    operation = "retry_payment"
    kind = "retry_payment"
    command_type: type[Command] = RetryPayment
    move = staticmethod(_retry)
    steps: tuple[Step, ...] = (booking(_retry, collects=True), COLLECT, REST)


def _record(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, RecordPayment)
    invoice = book_store.bring(connection, book, command.invoice)
    amount = Money(minor=command.amount_minor, currency=invoice.currency)
    named = f"transfer.{command.reference}"
    if book.entry_of("payment_settled", named) is not None:
        raise Refused(
            "This transfer is written down already.",
            code="payment_recorded",
            rule="payment.recorded_once",
            fact="reference",
        )
    receive(book, invoice.id, named, amount, at, into="cash")
    close_paid(book, invoice.id, at)
    after_payment(book, invoice.id, at)


class RecordPaymentHandler(SubscriptionMove):
    """Books money that came by transfer; the same reference is booked once."""

    operation = "record_payment"
    kind = "record_payment"
    command_type: type[Command] = RecordPayment
    move = staticmethod(_record)
    steps: tuple[Step, ...] = (booking(_record, final=True),)


def _credit(
    connection: Connection, book: Book, command: Command, at: datetime, reference: str
) -> None:
    assert isinstance(command, IssueCreditNote)
    invoice = book_store.bring(connection, book, command.invoice)
    note = issue_credit(book, invoice, command.amount_minor, command.kind, command.reason, at)
    if command.kind == "refund":
        book_store.bring_refunds(connection, book, invoice.id)
        promise(book, note, at)
    for owed in book.owed():
        use_credit(book, at, owed)
    after_payment(book, invoice.id, at)


class IssueCreditNoteHandler(SubscriptionMove):
    """Takes back a part of an invoice: less is due, it stands to the tenant's credit, or is paid back.

    A refund is promised here; the billing clock puts it to its provider, at once and until it ends.
    """

    operation = "issue_credit"
    kind = "issue_credit_note"
    command_type: type[Command] = IssueCreditNote
    move = staticmethod(_credit)
    steps: tuple[Step, ...] = (booking(_credit, final=True),)
