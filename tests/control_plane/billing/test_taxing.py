"""Tax on invoices: what is previewed is taken, what is given back takes its tax back, and the ledger keeps it apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.billing.book import Book
from control_plane.billing.change_quote import Wanted
from control_plane.billing.ending import cancel_now
from control_plane.billing.invoicing import annul, issue_credit, receive
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.starting import start
from control_plane.billing.tax_file import Taxation, TaxFile
from control_plane.domain.buyer import Buyer
from control_plane.domain.invoice import Invoice, refuse_totals
from control_plane.domain.money import Money
from control_plane.domain.tax import TaxParty
from control_plane.errors import Refused
from tests.support.books import (
    DAY,
    START,
    change,
    declined,
    every_hour,
    final,
    go,
    new_book,
    sums,
    told,
)

FRENCH: Final = Buyer(country="FR", address=("1 rue de Rivoli", "75001 Paris"))
FIRM: Final = Buyer(name="Usine SA", country="FR", business=True, vat_id="FR12345678901")
RISES: Final = datetime(2026, 2, 10, tzinfo=UTC)


def _rates(*percents: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"since": "2020-01-01", **one} for one in percents]


def rules(**table: Any) -> Taxation:
    """A seller in Germany; France has two rates, one after the other, and Canada two at once."""
    countries = [
        {"country": "DE", "zone": "UTC", "rates": _rates({"percent": 19})},
        {
            "country": "FR",
            "zone": "UTC",
            "rates": _rates(
                {"percent": 20, "until": "2026-02-09"},
                {"percent": "21.5", "since": "2026-02-10"},
            ),
        },
        {
            "country": "CA",
            "zone": "UTC",
            "reverse_charge": False,
            "rates": _rates({"percent": 5, "name": "GST"}, {"percent": "9.975", "name": "QST"}),
        },
    ]
    told_of = {
        "engine": "table",
        "seller": {"country": "DE", "vat_id": "DE123456789", "business": True},
        "table": {
            "version": 3,
            "country_unknown": "DE",
            "elsewhere": "untaxed",
            "countries": countries,
            **table,
        },
    }
    return TaxFile.model_validate(told_of, strict=False).taxation()


TAXED: Final = rules()


def taxed_book(plan: str = "team", buyer: Buyer | None = FRENCH, **facts: Any) -> Book:
    """A book in which tax is on, begun and paid."""
    book = waiting_book(plan, buyer, **facts)
    start(book, START)
    return go(book, START)


def waiting_book(plan: str = "team", buyer: Buyer | None = FRENCH, **facts: Any) -> Book:
    book = new_book(plan, buyer=buyer, **facts)
    book.sources = replace(book.sources, tax=TAXED)
    return book


def check(book: Book) -> None:
    """The ledger balances, and holds of tax and debts what the invoices say."""
    assert sum(book.balances.values()) == 0
    payable, owed = 0, 0
    for one in final(book):
        assert refuse_totals(one) is None
        assert one.total_minor >= 0
        owed += one.due_minor
        if one.tax is None:
            continue
        for rate in one.tax.charged:
            assert sum(share.amount_minor for share in rate.shares) == rate.amount_minor
        if one.state != "void":
            payable += one.tax.amount_minor
    for note in book.credit_notes:
        payable -= sum(one.amount_minor for one in note.taxes or ())
    assert book.balance_minor("tax_payable") == -payable
    assert book.balance_minor("receivable") == owed


def first(book: Book) -> Invoice:
    return final(book)[0]


def tax_of(invoice: Invoice) -> dict[str, int]:
    assert invoice.tax is not None
    return {
        f"{one.jurisdiction} {one.rate_percent} {one.reason}": one.amount_minor
        for one in invoice.tax.charged
    }


def test_an_invoice_is_owed_with_its_tax_and_only_its_net_is_earned() -> None:
    book = waiting_book(terms={"collection": "by_invoice"})
    start(book, START)
    invoice = first(book)
    assert (invoice.total_minor, tax_of(invoice)) == (4799, {"FR 20 standard": 800})
    assert book.balance_minor("receivable") == 4799
    assert book.balance_minor("tax_payable") == -800
    assert book.deferred_minor == 3999
    assert invoice.buyer == FRENCH
    assert invoice.tax is not None
    assert invoice.tax.rules.startswith("table:3:")
    assert invoice.tax.seller.vat_id == "DE123456789"
    check(book)


def test_without_an_engine_nothing_is_taxed_and_the_customer_still_stands_on_it() -> None:
    book = new_book(buyer=FRENCH)
    start(book, START)
    assert (first(book).total_minor, first(book).tax, first(book).buyer) == (3999, None, FRENCH)


@pytest.mark.parametrize(
    ("buyer", "total_minor", "taxes"),
    [
        (FIRM, 3999, {"FR 0 reverse_charge": 0}),
        (Buyer(country="CA"), 4598, {"CA GST 5 standard": 200, "CA QST 9.975 standard": 399}),
        (Buyer(country="US"), 3999, {}),
        (None, 4759, {"DE 19 standard": 760}),
    ],
)
def test_each_customer_is_taxed_where_they_are(
    buyer: Buyer | None, total_minor: int, taxes: dict[str, int]
) -> None:
    book = taxed_book(buyer=buyer)
    assert (first(book).total_minor, tax_of(first(book))) == (total_minor, taxes)
    assert bool(told(book, "invoice.country_unknown")) == (buyer is None)
    check(book)


def test_a_start_that_credit_would_pay_but_for_its_tax_waits_for_the_rest() -> None:
    book = waiting_book()
    book.balances = {("credit_balance", "EUR"): -4000, ("cash", "EUR"): 4000}
    start(book, START)
    assert (book.subscription.state, first(book).due_minor) == ("incomplete", 799)


def test_a_preview_and_its_change_come_to_the_same_with_tax() -> None:
    book = taxed_book()
    at = RISES - timedelta(minutes=10)
    quoted = quote(book, Wanted(plan="pro"), at, "change")
    assert "tax" in {one.kind for one in quoted.lines}
    # The rate goes up while the customer looks at the preview: what was previewed is taken.
    later = at + timedelta(minutes=50)
    commit(book, quoted, later, "change")
    invoice = final(book)[-1]
    assert invoice.total_minor == quoted.total_minor == invoice.due_minor
    assert sums(invoice) == {
        f"{one.kind}:{one.reference}": one.amount_minor for one in quoted.lines
    }
    go(book, later)
    assert book.subscription.plan == "pro"
    check(book)


def test_what_is_given_back_takes_the_tax_back_that_was_charged_on_it() -> None:
    book = taxed_book()
    at = RISES + DAY
    go(book, at)
    change(book, at, plan="pro")
    taxes = tax_of(final(book)[-1])
    assert taxes["FR 20 standard"] < 0 < taxes["FR 21.5 standard"]
    go(book, at)
    cancel_now(book, at + 5 * DAY, "end")
    (rate,) = tax_of(final(book)[-1])
    # The plan that runs was charged at the newer rate.
    assert rate == "FR 21.5 standard"
    check(book)


def test_a_customer_who_moved_gets_the_old_countrys_tax_back() -> None:
    book = taxed_book()
    book.revise(buyer=FIRM)
    cancel_now(book, START + 10 * DAY, "end")
    invoice = final(book)[-1]
    assert set(tax_of(invoice)) == {"FR 20 standard"}
    assert (invoice.total_minor, invoice.buyer) == (0, FIRM)
    assert book.credit_minor == sum(
        one.amount_minor for one in invoice.lines if one.kind == "credit_carried"
    )
    check(book)


def test_of_what_was_charged_before_there_was_tax_no_tax_is_given_back() -> None:
    book = new_book(buyer=FRENCH)
    start(book, START)
    go(book, START)
    book.sources = replace(book.sources, tax=TAXED)
    cancel_now(book, START + 10 * DAY, "end")
    assert tax_of(final(book)[-1]) == {}
    assert book.balance_minor("tax_payable") == 0
    check(book)


def test_what_waits_for_late_usage_is_taxed_when_it_becomes_final() -> None:
    book = taxed_book("metered", usage=every_hour)
    ends = book.period.end
    go(book, ends)
    (draft,) = [one for one in book.invoices.values() if one.state == "draft"]
    assert draft.tax is None
    # Before the hour is over, what is charged ahead on the draft is given back as it is charged.
    cancel_now(book, ends + timedelta(minutes=10), "end")
    assert {*tax_of(final(book)[1])} == {*tax_of(final(book)[2])} == {"FR 21.5 standard"}
    check(book)


def test_a_void_invoice_takes_its_tax_back_whole() -> None:
    book = waiting_book(terms={"collection": "by_invoice"})
    start(book, START)
    annul(book, first(book), START, "mistake")
    assert first(book).state == "void"
    assert not any(book.balances.values())
    check(book)


def test_a_declined_upgrade_leaves_no_tax_behind() -> None:
    book = taxed_book()
    before = dict(book.balances)
    change(book, RISES + DAY, plan="pro")
    go(book, RISES + DAY, declined)
    assert book.subscription.plan == "team"
    # What the period earned so far stays as it is: only a change that holds moves it.
    assert book.balance_minor("tax_payable") == before["tax_payable", "EUR"]
    check(book)


@given(cuts=st.lists(st.integers(1, 4598), max_size=5, unique=True))
def test_however_an_invoice_is_credited_its_tax_is_given_back_to_the_cent(cuts: list[int]) -> None:
    book = taxed_book(buyer=Buyer(country="CA"))
    whole = first(book)
    for before, after in pairwise(sorted({0, *cuts, whole.total_minor})):
        issue_credit(book, book.invoices[whole.id], after - before, "balance", "goodwill", START)
        check(book)
    assert book.balance_minor("tax_payable") == 0
    back = [one for note in book.credit_notes for one in note.taxes or ()]
    assert sum(one.taxable_minor for one in back if one.jurisdiction == "CA GST") == 3999


def test_a_credit_note_over_an_untaxed_invoice_has_no_tax() -> None:
    book = new_book()
    start(book, START)
    go(book, START)
    assert issue_credit(book, first(book), 100, "balance", "goodwill", START).taxes is None


def test_what_is_reduced_and_then_paid_leaves_the_tax_of_what_was_paid() -> None:
    book = waiting_book(terms={"collection": "by_invoice"})
    start(book, START)
    issue_credit(book, first(book), 2399, "reduction", "service", START)
    receive(book, first(book).id, "t", Money(minor=2400, currency="EUR"), START, into="cash")
    assert first(book).state == "paid"
    assert book.balance_minor("tax_payable") == -400
    check(book)


def test_an_engine_that_cannot_say_is_refused_before_anything_is_booked() -> None:
    table = {"country_unknown": "DE", "elsewhere": "refused"}
    book = waiting_book(buyer=Buyer(country="US"))
    book.sources = replace(book.sources, tax=rules(**table))
    with pytest.raises(Refused) as caught:
        start(book, START)
    assert (caught.value.code, caught.value.fact) == ("tax_unknown", "customer.country")
    assert book.entries == []


def test_the_same_book_comes_to_the_same_tax_again() -> None:
    def told_by() -> list[object]:
        book = taxed_book("metered", usage=every_hour)
        go(book, START + 70 * DAY)
        change(book, START + 75 * DAY, plan="pro")
        go(book, START + 100 * DAY)
        check(book)
        return [one.tax for one in final(book)]

    assert told_by() == told_by()


def test_the_parties_of_an_invoice_are_those_of_its_day() -> None:
    book = taxed_book()
    book.revise(buyer=FIRM)
    go(book, START + 40 * DAY)
    assert [one.buyer for one in final(book)] == [FRENCH, FIRM]
    assert [one.tax.customer for one in final(book) if one.tax] == [
        TaxParty(country="FR"),
        FIRM.party,
    ]
    assert tax_of(final(book)[1]) == {"FR 0 reverse_charge": Decimal(0)}
