"""How much of an invoice a credit note may take back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.domain.credit_note import CreditNote, refuse_credit
from control_plane.domain.invoice import Invoice, InvoiceLine, allocate, finalize, line_id, void

NOW = datetime(2026, 5, 1, tzinfo=UTC)
_LINE = InvoiceLine(
    id=line_id("invoice_1", "base", "team"),
    invoice="invoice_1",
    kind="base",
    reference="team",
    description="Team, May",
    amount_minor=1_000,
    currency="EUR",
)
DRAFT = Invoice(id="invoice_1", tenant="acme", currency="EUR", lines=(_LINE,), total_minor=1_000)
OPEN = finalize(DRAFT, "INV-000001", NOW, NOW)
PART = allocate(OPEN, 400)
PAID = allocate(PART, 600)


def note(kind: str, amount_minor: int, **facts: Any) -> CreditNote:
    base = {
        "id": "note_1",
        "tenant": "acme",
        "invoice": "invoice_1",
        "number": "CN-000001",
        "kind": kind,
        "reason": "goodwill",
        "amount_minor": amount_minor,
        "currency": "EUR",
        "issued_at": NOW,
    }
    return CreditNote.model_validate({**base, **facts})


@pytest.mark.parametrize(
    ("invoice", "kind", "most_minor"),
    [
        (OPEN, "reduction", 1_000),
        (PART, "reduction", 600),
        (PAID, "balance", 1_000),
        (PAID, "refund", 1_000),
    ],
)
def test_a_note_takes_back_at_most_what_is_left(
    invoice: Invoice, kind: str, most_minor: int
) -> None:
    assert refuse_credit(invoice, note(kind, most_minor)) is None
    refused = refuse_credit(invoice, note(kind, most_minor + 1))
    assert refused is not None
    assert (refused.code, refused.fact) == ("credit_refused", "amount_minor")


@pytest.mark.parametrize(
    ("invoice", "kind"),
    [
        (DRAFT, "reduction"),
        (PAID, "reduction"),
        (void(OPEN), "reduction"),
        (PART, "refund"),
        (PART, "balance"),
        (void(OPEN), "refund"),
    ],
)
def test_due_money_is_reduced_and_paid_money_given_back(invoice: Invoice, kind: str) -> None:
    refused = refuse_credit(invoice, note(kind, 1))
    assert refused is not None
    assert refused.fact == "state"


@pytest.mark.parametrize(
    "facts", [{"invoice": "invoice_2"}, {"tenant": "globex"}, {"currency": "USD"}]
)
def test_a_note_is_for_its_own_invoice_alone(facts: dict[str, str]) -> None:
    refused = refuse_credit(OPEN, note("reduction", 1, **facts))
    assert refused is not None
    assert refused.fact == "invoice"


def test_a_note_over_nothing_is_no_note() -> None:
    with pytest.raises(ValidationError):
        note("refund", 0)
