"""Money that goes back by the way it came: promised once, asked for until it ends, never more than was paid."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from control_plane.billing.book import Book
from control_plane.billing.clockwork import next_due_at
from control_plane.billing.forecast import run
from control_plane.billing.invoicing import issue_credit
from control_plane.billing.ledger import fold
from control_plane.billing.provider import Answer, PaymentContradiction
from control_plane.billing.refunding import (
    REFUND_WAITS,
    covering,
    heard,
    promise,
    refund_due_at,
    take_in,
    unheard,
)
from control_plane.domain.credit_note import CreditKind
from control_plane.domain.invoice import Invoice
from control_plane.domain.refund import Refund
from control_plane.errors import Refused
from tests.support.books import DAY, START, begun, final, new_book, paid, told
from tests.support.slices import sliced

AT = START + DAY
GIVEN = Answer(kind="succeeded", reference="re_1")
WAITS = Answer(kind="pending", reference="re_1")
REFUSED = Answer(kind="failed", failure="gateway_error", decline_code="account_closed")


def payer() -> tuple[Book, Invoice]:
    """One who has paid a first invoice, and that invoice."""
    book = begun()
    return book, final(book)[0]


def promised(book: Book, invoice: Invoice, amount_minor: int) -> Refund:
    note = issue_credit(book, invoice, amount_minor, "refund", "service", AT)
    return promise(book, note, AT)


def test_what_is_promised_stands_in_the_ledger_until_it_has_gone_back() -> None:
    book, invoice = payer()
    clearing_minor = book.balance_minor("cash_clearing")
    refund = promised(book, invoice, 1000)
    assert (refund.state, book.balance_minor("refunds")) == ("pending", -1000)
    take_in(book, heard(refund, GIVEN, AT), AT)
    assert book.balance_minor("refunds") == 0
    assert book.balance_minor("cash_clearing") == clearing_minor - 1000
    assert told(book, "refund.succeeded") == [AT]
    assert sum(fold(book.entries).values()) == 0


def test_what_cannot_be_given_back_is_credit() -> None:
    book, invoice = payer()
    refund = take_in(book, heard(promised(book, invoice, 1000), REFUSED, AT), AT)
    assert (refund.state, refund.decline_code) == ("failed", "account_closed")
    assert (book.balance_minor("refunds"), book.credit_minor) == (0, 1000)
    assert sum(fold(book.entries).values()) == 0


def test_a_word_that_comes_twice_books_once() -> None:
    book, invoice = payer()
    refund = take_in(book, heard(promised(book, invoice, 1000), GIVEN, AT), AT)
    held = (dict(book.balances), len(book.entries), len(book.notes))
    for answer in (GIVEN, WAITS):
        assert take_in(book, heard(refund, answer, AT + DAY), AT + DAY) == refund
    assert (dict(book.balances), len(book.entries), len(book.notes)) == held


def test_one_that_has_ended_cannot_end_otherwise_and_none_is_anothers() -> None:
    book, invoice = payer()
    refund = promised(book, invoice, 1000)
    with pytest.raises(PaymentContradiction):
        heard(heard(refund, GIVEN, AT), REFUSED, AT)
    with pytest.raises(PaymentContradiction):
        heard(heard(refund, REFUSED, AT), GIVEN, AT)
    with pytest.raises(PaymentContradiction):
        heard(heard(refund, WAITS, AT), Answer(kind="pending", reference="re_2"), AT)


def test_it_is_asked_for_at_once_then_at_growing_intervals_and_at_last_no_more() -> None:
    book, invoice = payer()
    refund, at = promised(book, invoice, 1000), AT
    assert next_due_at(book) == refund_due_at(refund) == AT
    waits: list[timedelta] = []
    while (due := refund_due_at(refund)) is not None:
        refund = heard(refund, WAITS, due) if len(waits) % 2 else unheard(refund, due)
        waits.append(due - at)
        at = due
        assert len(waits) < 100
    assert waits == [timedelta(), *REFUND_WAITS]
    assert (refund.state, book.balance_minor("refunds")) == ("pending", -1000)
    assert take_in(book, heard(refund, GIVEN, at), at).state == "succeeded"
    assert refund_due_at(heard(refund, GIVEN, at)) is None


def test_what_no_provider_collected_is_not_refunded() -> None:
    book = new_book(terms={"collection": "by_invoice"})
    run(book, START, paid)
    [invoice] = final(book)
    transferred = invoice.model_copy(
        update={"state": "paid", "allocated_minor": invoice.total_minor}
    )
    note = issue_credit(book, transferred, 1000, "refund", "service", AT)
    with pytest.raises(Refused) as caught:
        promise(book, note, AT)
    assert caught.value.code == "refund_not_covered"


def test_no_more_goes_back_than_an_attempt_has_left() -> None:
    book, invoice = payer()
    attempts = book.attempts_of(invoice.id)
    left_minor = invoice.total_minor - 2000
    refund = promised(book, invoice, 2000)
    assert covering(attempts, [refund], left_minor) is not None
    assert covering(attempts, [refund], left_minor + 1) is None
    # What failed has gone nowhere.
    assert covering(attempts, [heard(refund, REFUSED, AT)], invoice.total_minor) is not None


def test_a_forecast_gives_back_what_is_promised() -> None:
    book, invoice = payer()
    promised(book, invoice, 1000)
    run(book, AT + DAY, paid)
    assert [one.state for one in book.refunds.values()] == ["succeeded"]
    assert book.balance_minor("refunds") == 0


@pytest.mark.parametrize("seed", sliced(range(300), every=60))
def test_whatever_is_asked_for_never_more_goes_back_than_was_paid(seed: int) -> None:
    chosen = random.Random(seed)
    book, invoice = payer()
    paid_minor = invoice.allocated_minor
    answers = [GIVEN, WAITS, REFUSED, None]
    for number in range(chosen.randint(1, 8)):
        at = AT + number * DAY
        amount_minor = chosen.randint(1, 2 * paid_minor // 3)
        kind: CreditKind = "refund" if chosen.random() < 0.6 else "balance"
        try:
            note = issue_credit(book, book.invoices[invoice.id], amount_minor, kind, "service", at)
        except Refused:
            continue
        if kind == "refund":
            promise(book, note, at)
        for one in list(book.refunds.values()):
            answer = chosen.choice(answers)
            if one.state == "pending":
                said = None if answer is None else answer.model_copy(update={"reference": ""})
                take_in(book, unheard(one, at) if said is None else heard(one, said, at), at)
        gone_minor = sum(
            one.amount_minor for one in book.refunds.values() if one.state == "succeeded"
        )
        waits_minor = sum(
            one.amount_minor for one in book.refunds.values() if one.state == "pending"
        )
        assert book.balance_minor("refunds") == -waits_minor
        assert gone_minor + waits_minor + book.credit_minor <= paid_minor
        assert sum(fold(book.entries).values()) == 0
