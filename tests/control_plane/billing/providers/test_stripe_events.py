"""Stripe's webhooks: proven on the raw bytes before anything is read, and told as our own events."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from control_plane.billing.providers.stripe_events import EVENT_KINDS, read_event, verify
from control_plane.errors import BadInput, PaybillError, Refused

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SECRET = SecretStr("whsec_of_the_endpoint")
OLD = SecretStr("whsec_of_before")
ATTEMPT = "payment_0123456789abcdef"
LIBRARY: Any = stripe.WebhookSignature  # its own types leave the time out


def signed(body: bytes, at: datetime = NOW, secret: SecretStr = SECRET) -> dict[str, str]:
    when = int(at.timestamp())
    key = secret.get_secret_value().encode()
    made = hmac.new(key, b"%d." % when + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={when},v1={made},v0=00"}


def body(kind: str, status: str, **fields: Any) -> bytes:
    intent = {
        "id": "pi_1",
        "object": "payment_intent",
        "status": status,
        "amount": 1000,
        "currency": "eur",
        "metadata": {"paybill_attempt": ATTEMPT},
        "latest_charge": "ch_1",
        **fields,
    }
    created = int((NOW - timedelta(hours=3)).timestamp())
    event = {"id": "evt_1", "type": kind, "created": created, "data": {"object": intent}}
    return json.dumps({**event, "object": "event", "livemode": False}).encode()


PAID = body("payment_intent.succeeded", "succeeded")


def code_of(headers: Mapping[str, str], content: bytes = PAID, now: datetime = NOW) -> str:
    with pytest.raises(Refused) as raised:
        verify([SECRET], headers, content, now)
    assert SECRET.get_secret_value() not in f"{raised.value} {raised.value.__dict__}"
    return raised.value.code


def test_what_stripes_own_library_signs_is_proven() -> None:
    header = LIBRARY.generate_signature_header(
        PAID.decode(), SECRET.get_secret_value(), int(NOW.timestamp())
    )
    verify([SECRET], {"stripe-signature": header}, PAID, NOW)


def test_what_is_signed_here_is_proven_by_stripes_own_library() -> None:
    header = signed(PAID)["Stripe-Signature"]
    assert LIBRARY.verify_header(PAID, header, SECRET.get_secret_value())


def test_one_of_several_secrets_suffices_while_one_is_rotated() -> None:
    verify([SECRET, OLD], signed(PAID, secret=OLD), PAID, NOW)
    verify([OLD, SECRET], signed(PAID), PAID, NOW)
    assert code_of(signed(PAID, secret=OLD)) == "webhook_signature"


@pytest.mark.parametrize("offset_s", [-300, 0, 300])
def test_five_minutes_either_way_are_taken(offset_s: int) -> None:
    verify([SECRET], signed(PAID), PAID, NOW + timedelta(seconds=offset_s))


@pytest.mark.parametrize("offset_s", [-301, 301])
def test_more_is_refused_from_past_and_future(offset_s: int) -> None:
    assert code_of(signed(PAID), now=NOW + timedelta(seconds=offset_s)) == "webhook_time"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"stripe-signature": ""},
        {"stripe-signature": "v1=00"},
        {"stripe-signature": "t=1,t=2,v1=00"},
        {"stripe-signature": "t=-1,v1=00"},
        {"stripe-signature": "t=1e3,v1=00"},
        {"stripe-signature": "t=1, v1=00"},
        {"stripe-signature": "t=1,v1=ä"},
        {"stripe-signature": "t=" + "1" * 5000},
        {"stripe-signature": "t=1,v1=00", "Stripe-Signature": "t=1,v1=00"},
    ],
)
def test_a_header_that_is_not_whole_is_refused(headers: dict[str, str]) -> None:
    assert code_of(headers) == "webhook_headers"


def test_a_signature_of_another_scheme_counts_for_nothing() -> None:
    header = signed(PAID)["Stripe-Signature"].replace("v1=", "v0=")
    assert code_of({"stripe-signature": header}) == "webhook_signature"


@given(st.integers(0, len(PAID) - 1), st.integers(1, 255))
def test_a_body_with_another_byte_is_refused(place: int, change: int) -> None:
    altered = bytearray(PAID)
    altered[place] ^= change
    assert code_of(signed(PAID), bytes(altered)) == "webhook_signature"


def test_a_body_that_was_parsed_and_written_again_is_another_message() -> None:
    written = json.dumps(json.loads(PAID), separators=(",", ":")).encode()
    assert code_of(signed(PAID), written) == "webhook_signature"


@given(st.text(max_size=80), st.binary(max_size=80))
def test_whatever_comes_unsigned_is_refused_and_read_by_nobody(header: str, content: bytes) -> None:
    assert code_of({"stripe-signature": header}, content).startswith("webhook_")


@pytest.mark.parametrize("secrets", [[], [SecretStr("")], [SECRET] * 9])
def test_without_a_sound_secret_nothing_is_proven(secrets: list[SecretStr]) -> None:
    with pytest.raises(BadInput, match="secrets"):
        verify(secrets, signed(PAID), PAID, NOW)


# what an event says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "fields", "told"),
    [
        ("succeeded", "succeeded", {}, "succeeded"),
        ("processing", "processing", {}, "pending"),
        ("requires_action", "requires_action", {}, "action_required"),
        ("payment_failed", "requires_payment_method", {}, None),
        (
            "payment_failed",
            "requires_payment_method",
            {"last_payment_error": {"code": "card_declined", "decline_code": "stolen_card"}},
            None,
        ),
        (
            "payment_failed",
            "requires_payment_method",
            {"last_payment_error": {"code": "authentication_required"}},
            "action_required",
        ),
        ("canceled", "canceled", {"cancellation_reason": "abandoned"}, None),
        ("canceled", "canceled", {"cancellation_reason": "requested_by_customer"}, None),
    ],
)
def test_an_event_tells_what_will_not_change_and_else_that_one_must_ask(
    kind: str, status: str, fields: dict[str, Any], told: str | None
) -> None:
    content = body(f"payment_intent.{kind}", status, **fields)
    found = read_event([SECRET], signed(content), content, NOW)
    assert found is not None
    assert (found.id, found.attempt) == ("evt_1", ATTEMPT)
    assert found.occurred_at == NOW - timedelta(hours=3)
    assert (found.answer.kind if found.answer else None) == told
    assert found.answer is None or found.answer.reference == "pi_1"


def test_every_kind_that_is_named_is_read() -> None:
    for kind in EVENT_KINDS:
        content = body(kind, "processing")
        assert read_event([SECRET], signed(content), content, NOW) is not None


def test_where_the_customer_acts_is_told() -> None:
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.example/3ds"}}
    content = body("payment_intent.requires_action", "requires_action", next_action=action)
    found = read_event([SECRET], signed(content), content, NOW)
    assert found is not None
    assert found.answer is not None
    assert found.answer.action_url == "https://hooks.example/3ds"


@pytest.mark.parametrize(
    "content",
    [
        body("customer.created", "succeeded"),
        body("payment_intent.created", "requires_payment_method"),
        body("payment_intent.succeeded", "succeeded", metadata={}),
        body("payment_intent.succeeded", "succeeded", metadata={"paybill_attempt": "a b"}),
        body("payment_intent.succeeded", "succeeded", metadata={"order": "1"}),
    ],
)
def test_what_is_of_no_attempt_of_ours_is_passed_over(content: bytes) -> None:
    assert read_event([SECRET], signed(content), content, NOW) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b'{"id": "evt_1", "type": "x", "created": "1", "data": {"object": {}}}',
        b'{"id": "pi_1", "type": "x", "created": 1, "data": {"object": {}}}',
        b'{"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "data": {"object": {}}}',
    ],
)
def test_signed_bytes_that_are_no_event_are_bad_input(content: bytes) -> None:
    with pytest.raises(BadInput, match="body"):
        read_event([SECRET], signed(content), content, NOW)


def test_nothing_is_read_before_it_is_proven() -> None:
    with pytest.raises(PaybillError) as raised:
        read_event([SECRET], signed(b"{}", secret=OLD), b"{}", NOW)
    assert raised.value.code == "webhook_signature"
