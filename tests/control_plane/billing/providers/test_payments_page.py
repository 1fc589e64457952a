"""The page on payments says what the providers do, and nothing else. Not its prose."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from control_plane.billing.provider import (
    Answer,
    AnswerKind,
    PaymentProvider,
    settled,
    submitted,
)
from control_plane.billing.providers.sandbox import METHODS
from control_plane.billing.providers.stripe_events import EVENT_KINDS
from control_plane.billing.providers.stripe_intent import (
    ATTEMPT_KEY,
    INVOICE_KEY,
    NOT_CHARGEABLE,
    REFUND_KEY,
    TENANT_KEY,
)
from control_plane.domain.payment import FailureClass, PaymentAttempt, attempt_id
from tests.support.pages import Section, code, codes, sections

Page = Mapping[str, Section]

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.fixture(scope="module")
def page() -> Page:
    root = Path(__file__).resolve().parents[4]
    return sections((root / "docs" / "reference" / "payments.md").read_text())


def _going_out() -> PaymentAttempt:
    made = PaymentAttempt(
        id=attempt_id("invoice_1", 1),
        invoice="invoice_1",
        tenant="acme",
        number=1,
        amount_minor=1_000,
        currency="EUR",
        provider="sandbox",
        created_at=NOW,
        changed_at=NOW,
    )
    return submitted(made, NOW, LATER)


def test_every_call_of_the_port_is_told(page: Page) -> None:
    (table,) = page["The port"].tables
    public = {name for name in vars(PaymentProvider) if not name.startswith("_")}
    assert {code(one) for one in table.column("call")} == public - {"name"}
    assert "" not in table.column("what it does")


def test_every_answer_is_told_with_what_becomes_of_the_attempt(page: Page) -> None:
    answers, classes = page["Answers"].tables
    told = {code(one): code(to) for one, to in answers.cells("answer", "the attempt becomes")}
    assert tuple(told) == get_args(AnswerKind)
    for kind, state in told.items():
        failure = "soft_decline" if kind == "failed" else None
        said = Answer.model_validate({"kind": kind, "failure": failure})
        assert settled(_going_out(), said, LATER).state == state
    assert [code(one) for one in classes.column("class")] == list(get_args(FailureClass))


def test_every_method_of_the_sandbox_is_told(page: Page) -> None:
    (table,) = page["Sandbox"].tables
    assert [code(one) for one in table.column("reference")] == list(METHODS)
    assert "" not in table.column("what becomes of it")


def test_every_mark_and_code_of_stripe_is_told(page: Page) -> None:
    told = set(codes(page["Stripe"].text))
    assert {ATTEMPT_KEY, INVOICE_KEY, TENANT_KEY, REFUND_KEY, NOT_CHARGEABLE} <= told


def test_every_event_of_stripe_is_told(page: Page) -> None:
    (table,) = page["Stripe's webhooks"].tables
    assert [code(one) for one in table.column("event")] == list(EVENT_KINDS)
