"""One attempt at collecting: it goes out once, and an unknown one is only settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from control_plane.domain.payment import (
    IN_FLIGHT,
    PAYMENT,
    FailureClass,
    PaymentAttempt,
    PaymentState,
    UnsettledClass,
    attempt_id,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ROWS = {
    ("created", "submit"): "processing",
    ("created", "cancel"): "canceled",
    ("created", "fail"): "failed",
    ("processing", "succeed"): "succeeded",
    ("processing", "fail"): "failed",
    ("processing", "require_action"): "action_required",
    ("processing", "pend"): "unknown",
    ("processing", "lose"): "unknown",
    ("action_required", "confirm"): "processing",
    ("action_required", "succeed"): "succeeded",
    ("action_required", "fail"): "failed",
    ("action_required", "cancel"): "canceled",
    ("action_required", "lose"): "unknown",
    ("unknown", "settle_succeeded"): "succeeded",
    ("unknown", "settle_failed"): "failed",
    ("unknown", "settle_action"): "action_required",
    ("unknown", "ask_again"): "unknown",
}


def attempt(state: str, **facts: Any) -> PaymentAttempt:
    base = {
        "id": attempt_id("invoice_1", 1),
        "invoice": "invoice_1",
        "tenant": "acme",
        "number": 1,
        "amount_minor": 1_000,
        "currency": "EUR",
        "provider": "sandbox",
        "state": state,
        "created_at": NOW,
        "changed_at": NOW,
        "failure": "soft_decline" if state == "failed" else None,
        "unsettled": "unknown" if state == "unknown" else None,
        "deadline_at": NOW if state == "processing" else None,
    }
    return PaymentAttempt.model_validate({**base, **facts})


def test_the_table_holds_every_row_of_the_rules_and_no_other() -> None:
    assert {(s, a.event): a.target for a in PAYMENT.transitions for s in a.sources} == ROWS


def test_an_attempt_of_unknown_standing_is_settled_and_never_sent_again() -> None:
    assert PAYMENT.legal("unknown") == (
        "ask_again",
        "settle_action",
        "settle_failed",
        "settle_succeeded",
    )
    assert {s for (s, _), target in ROWS.items() if target == "processing"} == {
        "created",
        "action_required",
    }


def test_what_went_out_is_lost_when_nobody_answers_and_never_failed_by_the_watch() -> None:
    watch = PAYMENT.transient["processing"]
    assert PAYMENT.next("processing", watch.lapse) == "unknown"
    assert PAYMENT.transition("created", "submit").irreversible


def test_an_attempt_in_flight_is_one_that_has_not_ended() -> None:
    assert set(get_args(PaymentState)) - {"succeeded", "failed", "canceled"} == IN_FLIGHT


def test_an_attempt_has_one_id_however_often_it_is_made() -> None:
    assert attempt_id("invoice_1", 1) == attempt_id("invoice_1", 1)
    assert len({attempt_id("invoice_1", 1), attempt_id("invoice_1", 2), attempt_id("i", 1)}) == 3


@pytest.mark.parametrize("state", get_args(PaymentState))
def test_every_state_has_a_record(state: str) -> None:
    assert attempt(state).state == state


@pytest.mark.parametrize("kind", get_args(FailureClass))
def test_a_class_of_failure_stands_exactly_when_it_failed(kind: str) -> None:
    assert attempt("failed", failure=kind).failure == kind
    for state in set(get_args(PaymentState)) - {"failed"}:
        with pytest.raises(ValidationError, match="exactly when it failed"):
            attempt(state, failure=kind)


@pytest.mark.parametrize("kind", get_args(UnsettledClass))
def test_an_attempt_is_unsettled_exactly_while_it_is_unknown(kind: str) -> None:
    assert attempt("unknown", unsettled=kind).unsettled == kind
    for state in set(get_args(PaymentState)) - {"unknown"}:
        with pytest.raises(ValidationError, match="exactly while it is unknown"):
            attempt(state, unsettled=kind)


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        ("failed", {"failure": None}),
        ("unknown", {"unsettled": None}),
        ("processing", {"deadline_at": None}),
        ("created", {"deadline_at": NOW}),
        ("created", {"id": "payment_0"}),
        ("created", {"amount_minor": 0}),
        ("created", {"changed_at": NOW - timedelta(seconds=1)}),
        ("created", {"created_at": NOW.replace(tzinfo=None)}),
    ],
)
def test_an_attempt_that_contradicts_itself_is_none(state: str, facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        attempt(state, **facts)
