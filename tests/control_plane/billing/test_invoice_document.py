"""What an invoice and a credit note say: every line, sums that agree, and what is due in each state."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.amounts import MINUS
from control_plane.billing.invoice_document import (
    InvoiceDocument,
    credit_note_document,
    invoice_document,
)
from control_plane.billing.parties import Parties
from control_plane.billing.tax import part_of
from control_plane.domain.credit_note import CreditKind, CreditNote
from control_plane.domain.invoice import Invoice, allocate, finalize, reduce
from control_plane.errors import BadInput, Refused
from tests.support.invoices import (
    DUE,
    EARLIER,
    ID,
    ISSUED,
    PARTIES,
    ZONE,
    charges,
    documents,
    draft,
    line,
    numbered,
    taxed,
)


@pytest.fixture(scope="module")
def shown() -> dict[str, InvoiceDocument]:
    return documents()


def totals(document: InvoiceDocument) -> dict[str, str]:
    return {total.label: total.amount for total in document.totals}


def test_it_says_who_bills_whom_when_and_for_what_period(shown: dict[str, InvoiceDocument]) -> None:
    document = shown["open"]
    assert document.seller.name == "Northwind Software GmbH"
    assert document.customer.lines[-1] == "VAT ID: PL5260001246"
    assert {fact.label: fact.value for fact in document.facts} == {
        "Number": "NW-2026-0042",
        "Date": "1 Jun 2026",
        "Due": "15 Jun 2026",
        "Period": "1 May 2026 to 31 May 2026",
    }


def test_a_line_says_how_many_at_what_price_and_for_which_days(
    shown: dict[str, InvoiceDocument],
) -> None:
    usage = shown["open"].rows[4]
    assert (usage.position, usage.description) == (5, "API calls above 1,000,000")
    assert (usage.quantity, usage.unit_price, usage.amount) == ("1,286,000", "0.00012", "154.32")
    assert usage.details == ("1 May 2026 to 31 May 2026",)


def test_the_credit_of_a_change_is_named_and_leads_to_what_it_takes_back(
    shown: dict[str, InvoiceDocument],
) -> None:
    base, credit, debit, *_ = shown["open"].rows
    assert credit.reverses == base.position
    assert credit.amount == f"{MINUS}30.83"
    assert credit.details == (
        "Credit for time not used, 12 May 2026 to 31 May 2026",
        "Takes back line 1",
    )
    assert debit.details == ("For the rest of the period, 12 May 2026 to 31 May 2026",)
    # One times a whole price is not what the part of a period comes to.
    assert (credit.quantity, debit.quantity) == ("", "")


def test_the_credit_of_an_earlier_line_names_its_invoice_where_it_is_known(
    shown: dict[str, InvoiceDocument],
) -> None:
    assert shown["open"].rows[5].details[-1] == "Takes back line 2 of invoice NW-2026-0041"
    assert shown["open"].rows[5].reverses is None
    unknown = invoice_document(draft(charges()), PARTIES)
    assert unknown.rows[5].details[-1] == "Takes back a line of an earlier invoice"


def test_the_sums_lead_from_the_lines_to_what_is_due(shown: dict[str, InvoiceDocument]) -> None:
    assert totals(shown["part_paid"]) == {
        "Subtotal": "381.69",
        "Discounts": f"{MINUS}12.52",
        "Total before tax": "369.17",
        "Tax PL 23 % of 369.17": "84.91",
        "Total": "EUR 454.08",
        "Paid": f"{MINUS}100.00",
        "Amount due": "EUR 354.08",
    }


def minor(text: str) -> int:
    digits = text.removeprefix("EUR ").replace(",", "").replace(".", "")
    return int(digits.replace(MINUS, "-"))


@given(amounts=st.lists(st.integers(0, 10**8), min_size=1, max_size=12))
def test_whatever_is_charged_what_is_shown_adds_up(amounts: list[int]) -> None:
    lines, taxes = taxed(
        tuple(
            line("proration_debit", f"plan:{index}", "Team plan", one)
            for index, one in enumerate(amounts)
        )
    )
    document = invoice_document(numbered(draft(lines)), PARTIES, taxes=taxes)
    rows = sum(minor(row.amount) for row in document.rows)
    found = {label: minor(amount) for label, amount in totals(document).items()}
    net = found["Total before tax"] if "Total before tax" in found else found["Subtotal"]
    (tax,) = [amount for label, amount in found.items() if label.startswith("Tax PL")]
    assert rows == net == sum(amounts) + found.get("Discounts", 0)
    assert found["Subtotal"] == sum(amounts)
    assert found["Total"] == found["Amount due"] == net + tax


def test_what_was_credited_is_no_longer_due() -> None:
    invoice = allocate(reduce(numbered(draft(charges())), 10_000), 1_000)
    found = totals(invoice_document(invoice, PARTIES))
    assert found["Credit notes"] == f"{MINUS}100.00"
    assert found["Paid"] == f"{MINUS}10.00"
    assert found["Amount due"] == "EUR 271.69"


def test_an_invoice_of_charges_alone_has_no_steps_to_its_total() -> None:
    document = invoice_document(numbered(draft((line("base", "plan", "Team plan", 500),))), PARTIES)
    assert totals(document) == {"Total": "EUR 5.00", "Amount due": "EUR 5.00"}


def test_what_is_carried_over_stands_below_the_lines() -> None:
    lines = (
        line("proration_credit", "plan:1", "Team plan", -900),
        line("credit_carried", "balance", "Added to your balance", 900),
    )
    document = invoice_document(numbered(draft(lines)), PARTIES)
    assert [row.description for row in document.rows] == ["Team plan"]
    assert totals(document) == {
        "Subtotal": f"{MINUS}9.00",
        "Added to your balance": "9.00",
        "Total": "EUR 0.00",
        "Amount due": "EUR 0.00",
    }
    assert (document.mark, document.notes) == ("Paid", (PARTIES.note,))


@pytest.mark.parametrize(
    ("name", "mark", "due", "payable"),
    [
        ("draft", "Draft", None, False),
        ("open", None, "EUR 454.08", True),
        ("part_paid", None, "EUR 354.08", True),
        ("paid", "Paid", "EUR 0.00", False),
        ("void", "Void", "EUR 0.00", False),
    ],
)
def test_each_state_says_what_is_due_and_how_to_pay_only_where_something_is(
    shown: dict[str, InvoiceDocument], name: str, mark: str | None, due: str | None, payable: bool
) -> None:
    document = shown[name]
    assert document.mark == mark
    assert totals(document).get("Amount due") == due
    assert bool(document.payment) == bool(document.pay_at) == payable
    assert (document.issued_at is None) == (name == "draft")


def test_how_to_pay_names_the_account_and_the_number(shown: dict[str, InvoiceDocument]) -> None:
    assert [fact.label for fact in shown["open"].payment] == [
        "Account holder",
        "IBAN",
        "BIC",
        "Reference",
    ]
    assert shown["open"].payment[-1].value == "NW-2026-0042"


def test_without_an_account_there_is_no_account_to_pay_to() -> None:
    parties = Parties.model_validate({**dict(PARTIES), "bank": (), "pay_at": None})
    document = invoice_document(numbered(draft(charges())), parties)
    assert (document.payment, document.pay_at) == ((), None)


def test_reverse_charge_is_said_with_no_tax(shown: dict[str, InvoiceDocument]) -> None:
    document = shown["reverse_charge"]
    assert totals(document)["Tax PL, reverse charge of 369.17"] == "0.00"
    assert totals(document)["Total"] == "EUR 369.17"
    assert document.notes[0].startswith("Reverse charge")


def test_tax_lines_stand_by_their_descriptions_where_no_more_is_known() -> None:
    lines, _taxes = taxed(charges())
    assert totals(invoice_document(draft(lines), PARTIES))["Tax PL 23 %"] == "84.91"


def test_taxes_of_another_sum_are_bad_input() -> None:
    lines, taxes = taxed(charges())
    with pytest.raises(BadInput):
        invoice_document(draft(lines[:-1]), PARTIES, taxes=taxes)
    with pytest.raises(BadInput):
        invoice_document(draft(lines), PARTIES, taxes=(*taxes, *taxes))


def test_sums_that_do_not_hold_are_never_shown() -> None:
    unsound = draft(charges(), total_minor=1)
    with pytest.raises(Refused) as caught:
        invoice_document(unsound, PARTIES)
    assert caught.value.code == "invoice_not_sound"


def test_a_deleted_draft_has_no_document() -> None:
    with pytest.raises(BadInput):
        invoice_document(draft((), state="deleted"), PARTIES)


def note_over(invoice: Invoice, minor: int, kind: CreditKind = "refund") -> CreditNote:
    return CreditNote(
        id="credit_1",
        tenant="acme",
        invoice=invoice.id,
        number="NW-CN-7",
        kind=kind,
        reason="service",
        amount_minor=minor,
        currency="EUR",
        issued_at=DUE,
    )


@pytest.mark.parametrize(
    ("kind", "said"), [("reduction", "due"), ("balance", "balance"), ("refund", "paid back")]
)
def test_a_credit_note_names_its_invoice_its_tax_and_where_the_money_goes(
    kind: CreditKind, said: str
) -> None:
    lines, taxes = taxed(charges())
    invoice = numbered(draft(lines))
    part = part_of(taxes, 0, 10_000, invoice.total_minor)
    document = credit_note_document(
        note_over(invoice, 10_000, kind), invoice, PARTIES, zone=ZONE, taxes=part
    )
    assert (document.heading, document.number, document.mark) == ("Credit note", "NW-CN-7", None)
    assert document.facts[-1].value == "NW-2026-0042 of 1 Jun 2026"
    assert [row.description for row in document.rows] == [
        "Credit for invoice NW-2026-0042: the service fell short"
    ]
    assert totals(document) == {
        "Before tax": "81.30",
        "Tax PL 23 % of 81.30": "18.70",
        "Total credited": "EUR 100.00",
    }
    assert said in document.notes[0]
    assert (document.payment, document.pay_at) == ((), None)


def test_a_credit_note_of_another_invoice_or_over_a_draft_is_bad_input() -> None:
    other = numbered(draft((line("base", "plan", "Team plan", 500),)))
    with pytest.raises(BadInput):
        credit_note_document(note_over(other, 1), draft(charges()), PARTIES)
    note = note_over(other, 1).model_copy(update={"invoice": "invoice_2"})
    with pytest.raises(BadInput):
        credit_note_document(note, other, PARTIES)


def test_every_text_of_others_is_cleaned() -> None:
    sneaky = "Team\u202e plan\n"
    lines = (line("base", "plan", sneaky, 500), line("tax", "tax", sneaky, 1))
    dirty = Parties.model_validate(
        {
            "seller": {"name": sneaky, "address": (sneaky,)},
            "customer": {
                "name": sneaky,
                "address": (),
                "contact": (sneaky,),
                "tax_ids": ({"label": sneaky, "value": "\u200b"},),
            },
            "bank": ({"label": sneaky, "value": sneaky},),
            "note": sneaky,
        }
    )
    document = invoice_document(numbered(draft(lines)), dirty, earlier=EARLIER)
    text = document.model_dump_json()
    assert "Team plan: -" in text
    assert "\u202e" not in text
    assert "\\n" not in text


@pytest.mark.parametrize(
    "page",
    [
        "http://pay.example/",
        "javascript:alert(1)",
        "https://a b/",
        'https://pay.example/"><script>',
    ],
)
def test_only_a_plain_https_page_may_be_paid_at(page: str) -> None:
    with pytest.raises(ValidationError):
        Parties.model_validate({**dict(PARTIES), "pay_at": page})


def test_a_price_that_is_not_said_is_left_out() -> None:
    only = line("manual", "set-up", "Set-up", 500, quantity=Decimal("2.5"))
    (row,) = invoice_document(finalize(draft((only,)), "A-1", ISSUED, DUE), PARTIES).rows
    assert (row.quantity, row.unit_price) == ("2.5", "")
    assert only.invoice == ID
