"""How an invoice becomes final, is paid and is taken back, with the entry of each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.billing.book import Book
from control_plane.billing.charging import period_lines
from control_plane.billing.invoicing import (
    annul,
    drafted,
    finalised,
    issue_credit,
    own_invoice_id,
    receive,
    recognise,
    use_credit,
)
from control_plane.domain.invoice import Invoice, InvoiceLine, LineKind, line_id
from control_plane.domain.money import Money
from control_plane.errors import Refused
from tests.support.books import (
    DAY,
    START,
    Auditor,
    begun,
    change,
    final,
    go,
    new_book,
    pending,
    told,
)

AT = START + DAY


def line(invoice: str, kind: LineKind, amount: int) -> InvoiceLine:
    return InvoiceLine(
        id=line_id(invoice, kind, "x"),
        invoice=invoice,
        kind=kind,
        reference="x",
        description="X",
        amount_minor=amount,
        currency="EUR",
    )


def open_book(amount: int = 3000) -> tuple[Book, Invoice]:
    """A book with one open invoice over so much, charged ahead."""
    book = new_book()
    lines = (line("invoice_1", "base", amount),)
    return book, finalised(book, drafted(book, "invoice_1", lines), AT)


def euros(minor: int) -> Money:
    return Money(minor=minor, currency="EUR")


def test_an_invoice_is_final_with_its_number_and_is_booked_as_owed_and_still_to_come() -> None:
    book, invoice = open_book()
    assert (invoice.state, invoice.number, invoice.due_at) == ("open", "INV-000001", AT)
    assert dict(book.balances) == {("receivable", "EUR"): 3000, ("deferred_revenue", "EUR"): -3000}


def test_what_was_given_already_is_earned_at_once() -> None:
    book = new_book()
    lines = (line("invoice_1", "base", 100), line("invoice_1", "usage", 40))
    finalised(book, drafted(book, "invoice_1", lines), AT)
    assert (book.deferred_minor, book.balance_minor("revenue")) == (100, -40)


@pytest.mark.parametrize(
    ("given", "used", "due", "credit"),
    [(-500, 0, 0, 500), (-500, 200, 0, 300), (-500, 500, 0, 0), (-500, 900, 400, 0)],
)
def test_what_is_given_back_pays_for_the_rest_and_what_is_left_is_credit(
    given: int, used: int, due: int, credit: int
) -> None:
    book, _ = open_book(1000)
    lines = [line("invoice_2", "proration_credit", given)]
    lines += [line("invoice_2", "usage", used)] if used else []
    invoice = finalised(book, drafted(book, "invoice_2", lines), AT)
    assert (invoice.total_minor, invoice.due_minor) == (due, due)
    assert sum(one.amount_minor for one in invoice.lines) == due
    assert book.credit_minor == credit
    assert book.deferred_minor == 500
    assert book.balance_minor("revenue") == -used


def test_credit_is_put_to_an_invoice_as_it_becomes_final() -> None:
    book = new_book()
    book.balances = {("credit_balance", "EUR"): -1000, ("cash_clearing", "EUR"): 1000}
    lines = (line("invoice_1", "base", 3000),)
    invoice = finalised(book, drafted(book, "invoice_1", lines), AT)
    assert (invoice.due_minor, invoice.allocated_minor, book.credit_minor) == (2000, 1000, 0)
    assert use_credit(book, AT, invoice) == invoice


def test_more_money_than_is_owed_is_credit() -> None:
    book, _ = open_book()
    paid = receive(book, "invoice_1", "payment_1", euros(3500), AT)
    assert (paid.state, book.credit_minor) == ("paid", 500)
    again = receive(book, "invoice_1", "payment_2", euros(100), AT)
    assert again == paid
    assert book.credit_minor == 600
    assert told(book, "invoice.paid") == [AT]


def test_a_part_of_the_money_pays_a_part() -> None:
    book, _ = open_book()
    part = receive(book, "invoice_1", "payment_1", euros(1000), AT)
    assert (part.state, part.due_minor) == ("open", 2000)
    assert book.balance_minor("receivable") == 2000


def test_an_invoice_that_nothing_was_put_to_is_void_and_its_entry_undone() -> None:
    book, invoice = open_book()
    annul(book, invoice, AT, "cancellation")
    assert book.invoices["invoice_1"].state == "void"
    assert book.balances == {}


def test_one_that_was_paid_in_part_is_taken_back_by_notes() -> None:
    book, _ = open_book()
    part = receive(book, "invoice_1", "payment_1", euros(1000), AT)
    annul(book, part, AT, "cancellation")
    assert [(one.kind, one.amount_minor) for one in book.credit_notes] == [
        ("reduction", 2000),
        ("balance", 1000),
    ]
    assert [one.number for one in book.credit_notes] == ["CRE-000001", "CRE-000002"]
    assert book.invoices["invoice_1"].due_minor == 0
    assert (book.credit_minor, book.deferred_minor, book.balance_minor("revenue")) == (1000, 0, 0)


def test_one_that_was_paid_is_credit_and_taking_it_back_again_does_nothing() -> None:
    book, _ = open_book()
    paid = receive(book, "invoice_1", "payment_1", euros(3000), AT)
    annul(book, paid, AT, "mistake")
    annul(book, book.invoices["invoice_1"], AT, "mistake")
    assert book.credit_minor == 3000
    assert len(book.credit_notes) == 1


def test_a_note_over_more_than_there_is_is_refused() -> None:
    book, invoice = open_book()
    with pytest.raises(Refused) as caught:
        issue_credit(book, invoice, 3001, "reduction", "goodwill", AT)
    assert caught.value.code == "credit_refused"
    assert book.credit_notes == []
    with pytest.raises(Refused):
        issue_credit(book, invoice, 1, "balance", "goodwill", AT)


def test_a_refund_is_promised_and_not_credit() -> None:
    book, _ = open_book()
    paid = receive(book, "invoice_1", "payment_1", euros(3000), AT)
    issue_credit(book, paid, 800, "refund", "service", AT)
    assert book.balance_minor("refunds") == -800
    assert (book.credit_minor, book.deferred_minor) == (0, 2200)


def test_what_was_earned_is_taken_back_from_what_was_earned() -> None:
    book, _ = open_book()
    paid = receive(book, "invoice_1", "payment_1", euros(3000), AT)
    recognise(book, AT, keep_minor=1000)
    issue_credit(book, paid, 1500, "balance", "service", AT)
    assert (book.deferred_minor, book.balance_minor("revenue")) == (0, -1500)


def test_what_is_earned_twice_at_one_instant_is_two_entries() -> None:
    book, _ = open_book()
    for keep_minor in (2000, 1500, 0):
        recognise(book, AT, keep_minor=keep_minor)
    earned = [one for one in book.entries if one.cause.kind == "revenue_recognised"]
    assert len({one.id for one in earned}) == 3
    assert book.balance_minor("revenue") == -3000


def test_what_a_change_waits_for_is_not_earned_before_it_holds() -> None:
    book = begun()
    change(book, START + 14 * DAY, plan="pro")
    go(book, START + 14 * DAY, pending)
    recognise(book, START + 14 * DAY)
    assert book.deferred_minor == 3000
    assert book.balance_minor("revenue") == -3999
    Auditor().look(book)


def test_the_same_command_names_the_same_invoice_and_another_another() -> None:
    book, other = new_book(), new_book(id="sub_2")
    assert own_invoice_id(book, "a") == own_invoice_id(new_book(), "a")
    assert (
        len({own_invoice_id(book, "a"), own_invoice_id(book, "b"), own_invoice_id(other, "a")}) == 3
    )


def test_by_invoice_it_is_due_after_its_days_of_24_hours() -> None:
    book = new_book(terms={"collection": "by_invoice", "due_days": 30})
    lines = (line("invoice_1", "base", 3000),)
    assert finalised(book, drafted(book, "invoice_1", lines), AT).due_at == AT + timedelta(days=30)


def test_an_invoice_of_a_period_names_it() -> None:
    book = begun()
    lines, _ = period_lines(book.offer, book.terms, "invoice_9", book.period)
    span = (book.period.start, book.period.end)
    draft = drafted(book, "invoice_9", lines, period=span)
    assert (draft.period_start, draft.period_end) == span
    assert final(book)[0].period_start == span[0]
