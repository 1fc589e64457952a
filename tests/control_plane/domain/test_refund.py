"""One refund: an id that follows from its credit note, and nothing that contradicts itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.domain.refund import REFUND, Refund, refund_id

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def refund(**facts: Any) -> Refund:
    base = {
        "id": refund_id("credit_1"),
        "tenant": "acme",
        "credit_note": "credit_1",
        "invoice": "invoice_1",
        "attempt": "payment_1",
        "amount_minor": 100,
        "currency": "EUR",
        "created_at": NOW,
        "changed_at": NOW,
    }
    return Refund.model_validate({**base, **facts})


def test_the_table_holds_every_row_of_the_rules_and_no_other() -> None:
    assert {(s, a.event): a.target for a in REFUND.transitions for s in a.sources} == {
        ("pending", "succeed"): "succeeded",
        ("pending", "fail"): "failed",
        ("pending", "ask_again"): "pending",
    }


def test_a_credit_note_has_one_refund_however_often_it_is_made() -> None:
    assert refund().id == refund_id("credit_1") != refund_id("credit_2")


@pytest.mark.parametrize(
    "facts",
    [
        {"id": refund_id("credit_2")},
        {"amount_minor": 0},
        {"changed_at": NOW - timedelta(seconds=1)},
        {"asked": 1},
        {"asked_at": NOW},
        {"decline_code": "no"},
        {"created_at": NOW.replace(tzinfo=None)},
    ],
)
def test_a_refund_that_contradicts_itself_is_none(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        refund(**facts)
