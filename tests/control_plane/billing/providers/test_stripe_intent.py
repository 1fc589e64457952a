"""What a PaymentIntent means: no failure that could still succeed, and no amount but an exact one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.billing.providers.stripe_intent import (
    GATEWAY_ERRORS,
    HARD_DECLINES,
    answer_of,
    declined,
    payer_of,
    read_intent,
    stripe_amount,
)
from control_plane.domain.money import Money


def intent(status: str, **fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": "pi_1",
        "status": status,
        "amount": 1000,
        "currency": "eur",
        "metadata": {},
    }
    return {**base, "object": "payment_intent", **fields}


def told(status: str, **fields: Any) -> tuple[str, str | None, str] | None:
    found = answer_of(read_intent(intent(status, **fields)))
    return None if found is None else (found.kind, found.failure, found.decline_code)


@pytest.mark.parametrize(
    ("currency", "minor", "counted"),
    [
        ("EUR", 1, 1),
        ("USD", 1_050, 1_050),
        ("JPY", 500, 500),
        ("KRW", 1, 1),
        ("KWD", 5_120, 5_120),
        ("KWD", 5_124, None),
        ("BHD", 10, 10),
        ("UGX", 5, 500),
        ("ISK", 5, 500),
        ("MGA", 500, 5),
        ("MGA", 550, None),
        ("HUF", 1_045, 1_045),
        ("IQD", 1_000, None),
        ("CLF", 10_000, None),
    ],
)
def test_an_amount_is_counted_as_stripe_counts_it_or_not_at_all(
    currency: str, minor: int, counted: int | None
) -> None:
    assert stripe_amount(Money(minor=minor, currency=currency)) == counted


@pytest.mark.parametrize(
    ("reference", "payer"),
    [
        ("pm_1", (None, "pm_1")),
        ("card_1", (None, "card_1")),
        ("cus_1/pm_1", ("cus_1", "pm_1")),
        ("cus_1/src_1", ("cus_1", "src_1")),
        ("cus_1", None),
        ("pm_1/cus_1", None),
        ("cus_1/pm_1/pm_2", None),
        ("pm_1\n", None),
        ("pm_", None),
        ("4242424242424242", None),
    ],
)
def test_a_method_is_a_token_with_or_without_its_customer(
    reference: str, payer: tuple[str | None, str] | None
) -> None:
    assert payer_of(reference) == payer


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        ("succeeded", {}, ("succeeded", None, "")),
        ("processing", {}, ("pending", None, "")),
        ("requires_capture", {}, ("pending", None, "")),
        ("a_state_of_tomorrow", {}, ("pending", None, "")),
        ("requires_action", {}, ("action_required", None, "")),
        ("requires_payment_method", {}, None),
        ("requires_confirmation", {}, None),
        ("requires_payment_method", {"last_payment_error": {"code": "card_declined"}}, None),
        (
            "requires_payment_method",
            {"last_payment_error": {"code": "authentication_required"}},
            ("action_required", None, ""),
        ),
        (
            "requires_payment_method",
            {
                "last_payment_error": {
                    "code": "card_declined",
                    "decline_code": "authentication_required",
                }
            },
            ("action_required", None, ""),
        ),
        (
            "canceled",
            {"cancellation_reason": "requested_by_customer"},
            ("canceled", None, ""),
        ),
        (
            "canceled",
            {
                "cancellation_reason": "requested_by_customer",
                "last_payment_error": {"code": "authentication_required"},
            },
            ("canceled", None, ""),
        ),
        ("canceled", {"cancellation_reason": "abandoned"}, ("failed", "gateway_error", "")),
        ("canceled", {"cancellation_reason": None}, ("failed", "soft_decline", "canceled")),
        ("canceled", {"cancellation_reason": "fraudulent"}, ("failed", "soft_decline", "canceled")),
        (
            "canceled",
            {"last_payment_error": {"code": "card_declined", "decline_code": "lost_card"}},
            ("failed", "hard_decline", "lost_card"),
        ),
        (
            "canceled",
            {
                "cancellation_reason": "abandoned",
                "latest_charge": {
                    "id": "ch_1",
                    "status": "failed",
                    "failure_code": "card_declined",
                    "outcome": {"reason": "insufficient_funds", "type": "issuer_declined"},
                },
            },
            ("failed", "soft_decline", "insufficient_funds"),
        ),
        (
            "canceled",
            {"latest_charge": {"status": "failed", "failure_code": "expired_card"}},
            ("failed", "hard_decline", "expired_card"),
        ),
    ],
)
def test_an_intent_is_told_by_its_state(
    status: str, fields: dict[str, Any], expected: tuple[str, str | None, str] | None
) -> None:
    assert told(status, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "untouched"),
    [
        ({}, True),
        ({"status": "requires_confirmation"}, True),
        ({"last_payment_error": {"code": "card_declined"}}, False),
        ({"latest_charge": "ch_1"}, False),
        ({"status": "canceled"}, False),
        ({"status": "requires_action"}, False),
    ],
)
def test_an_intent_that_nobody_has_tried_to_pay_is_untouched(
    fields: dict[str, Any], untouched: bool
) -> None:
    found = read_intent({**intent("requires_payment_method"), **fields})
    assert found.is_untouched == untouched


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        *((one, "hard_decline") for one in sorted(HARD_DECLINES)),
        *((one, "gateway_error") for one in sorted(GATEWAY_ERRORS)),
        *((one, "soft_decline") for one in ("insufficient_funds", "generic_decline", "")),
        ("a_code_of_tomorrow", "soft_decline"),
    ],
)
def test_a_decline_has_the_class_of_its_code(code: str, failure: str) -> None:
    assert (declined(code, "pi_1").failure, declined(code, "pi_1").decline_code) == (failure, code)


def test_a_code_that_is_no_word_is_made_one() -> None:
    assert declined("Odd-Code " + "x" * 90, "pi_1").decline_code == ("odd_code_" + "x" * 90)[:80]


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://hooks.example/3ds?x=1", "https://hooks.example/3ds?x=1"),
        ("http://hooks.example/3ds", ""),
        ("javascript:alert(1)", ""),
        ("https://hooks.example/a b", ""),
        (None, ""),
    ],
)
def test_only_a_secure_page_is_passed_on(url: str | None, page: str) -> None:
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": url}}
    found = answer_of(read_intent(intent("requires_action", next_action=action)))
    assert found is not None
    assert found.action_url == page


def test_a_step_that_has_no_page_is_told_without_one() -> None:
    action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": "x"}}
    found = answer_of(read_intent(intent("requires_action", next_action=action)))
    assert found is not None
    assert found.action_url == ""


@pytest.mark.parametrize("values", [{}, intent("succeeded", id="ch_1"), intent("x", amount="1")])
def test_what_is_no_intent_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_intent(values)
