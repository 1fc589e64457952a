"""Stripe's API as it is called: what may have charged is unknown, the rest did nothing, and no key is told."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pydantic import SecretStr

from control_plane.billing.providers.stripe_api import Rejected, StripeApi
from control_plane.errors import BadInput, PaybillError, Unavailable, Unknown
from tests.support.payments import KEY, ScriptedStripe, scripted_stripe, unused_port

INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "requires_payment_method",
    "amount": 1000,
    "currency": "eur",
    "metadata": {"paybill_attempt": "a"},
}
CALLS: dict[str, Callable[[StripeApi], object]] = {
    "create": lambda api: api.create("key", 1000, "eur", "cus_1", {"paybill_attempt": "a"}),
    "retrieve": lambda api: api.retrieve("pi_1"),
    "confirm": lambda api: api.confirm("pi_1", "key", "pm_secret"),
    "close": lambda api: api.close("pi_1", "abandoned", may_charge=True),
    "search": lambda api: api.search("paybill_attempt", "a"),
    "refunds": lambda api: api.refunds("pi_1"),
    "refund": lambda api: api.refund("pi_1", "key", 1000, {}),
}
CHARGING = {"confirm", "close", "refund"}


@pytest.fixture
def script() -> Iterator[ScriptedStripe]:
    with scripted_stripe() as running:
        yield running


@pytest.fixture
def api(script: ScriptedStripe) -> Iterator[StripeApi]:
    made = StripeApi(KEY, api_base=script.url, timeout_s=20)
    yield made
    made.shut()


def raised_by(call: Callable[[StripeApi], object], api: StripeApi) -> PaybillError:
    with pytest.raises(PaybillError) as raised:
        call(api)
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY.get_secret_value() not in shown
    assert "pm_secret" not in str(raised.value)
    return raised.value


def test_an_intent_is_made_with_its_key_its_marks_and_no_page_to_return_to(
    script: ScriptedStripe, api: StripeApi
) -> None:
    script.say(200, INTENT)
    assert api.create("key", 1000, "eur", "cus_1", {"paybill_attempt": "a"}).id == "pi_1"
    (asked,) = script.requests
    assert asked.form == {
        "amount": "1000",
        "currency": "eur",
        "customer": "cus_1",
        "metadata[paybill_attempt]": "a",
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
        "expand[0]": "latest_charge",
    }
    assert asked.headers["idempotency-key"] == "key"
    assert asked.headers["authorization"] == f"Bearer {KEY.get_secret_value()}"


def test_an_intent_is_paid_off_session_with_its_key(script: ScriptedStripe, api: StripeApi) -> None:
    script.say(200, {**INTENT, "status": "succeeded"})
    assert api.confirm("pi_1", "key", "pm_secret").status == "succeeded"
    (asked,) = script.requests
    assert asked.path == "/v1/payment_intents/pi_1/confirm"
    assert (asked.form["payment_method"], asked.form["off_session"]) == ("pm_secret", "true")
    assert asked.headers["idempotency-key"] == "key"


@pytest.mark.parametrize("call", ["create", "confirm"])
def test_an_answer_that_is_given_again_is_asked_for_anew(
    script: ScriptedStripe, api: StripeApi, call: str
) -> None:
    script.say(200, INTENT, idempotent_replayed="true")
    script.say(200, {**INTENT, "status": "succeeded"})
    found: Any = CALLS[call](api)
    assert found.status == "succeeded"
    assert script.asked[1] == "GET /v1/payment_intents/pi_1"


def test_a_search_names_the_mark_and_reads_what_it_finds_anew(
    script: ScriptedStripe, api: StripeApi
) -> None:
    script.say(200, {"object": "search_result", "data": [INTENT], "has_more": False})
    script.say(200, {**INTENT, "status": "succeeded"})
    found = api.search("paybill_attempt", "a")
    assert found is not None
    assert found.status == "succeeded"
    script.say(200, {"object": "search_result", "data": [], "has_more": False})
    assert api.search("paybill_attempt", "b") is None


@pytest.mark.parametrize("call", sorted(CALLS))
@pytest.mark.parametrize("status", [500, 502])
def test_an_error_of_stripes_is_unknown_only_where_money_may_have_moved(
    script: ScriptedStripe, api: StripeApi, call: str, status: int
) -> None:
    script.refuse(status, "api_error")
    expected = Unknown if call in CHARGING else Unavailable
    assert type(raised_by(CALLS[call], api)) is expected


@pytest.mark.parametrize("call", ["create", "confirm", "refund"])
def test_what_another_puts_to_stripe_at_the_same_moment_is_unknown(
    script: ScriptedStripe, api: StripeApi, call: str
) -> None:
    script.refuse(409, "idempotency_error", code="idempotency_key_in_use")
    assert type(raised_by(CALLS[call], api)) is Unknown


@pytest.mark.parametrize("call", sorted(CALLS))
def test_a_connection_that_breaks_is_unknown_only_where_money_may_have_moved(
    script: ScriptedStripe, api: StripeApi, call: str
) -> None:
    expected = Unknown if call in CHARGING else Unavailable
    error = raised_by(CALLS[call], api)
    assert type(error) is expected
    code = "payment_unknown" if call in CHARGING else "payment_provider_unavailable"
    assert error.code == code
    assert len(script.requests) == 1, "it is not tried again"


@pytest.mark.parametrize("call", sorted(CALLS))
def test_where_no_connection_is_made_nothing_was_sent(call: str) -> None:
    api = StripeApi(KEY, api_base=f"http://127.0.0.1:{unused_port()}", timeout_s=20)
    assert type(raised_by(CALLS[call], api)) is Unavailable
    api.shut()


@pytest.mark.parametrize("call", sorted(CALLS))
@pytest.mark.parametrize(("status", "kind"), [(401, "x"), (403, "x"), (429, "rate_limit")])
def test_a_request_that_is_turned_away_did_nothing(
    script: ScriptedStripe, api: StripeApi, call: str, status: int, kind: str
) -> None:
    script.refuse(status, kind)
    assert type(raised_by(CALLS[call], api)) is Unavailable


@pytest.mark.parametrize("call", ["create", "confirm", "close", "refund"])
@pytest.mark.parametrize(
    ("status", "kind", "rejected"),
    [
        (402, "card_error", "card"),
        (400, "idempotency_error", "key_reused"),
        (400, "invalid_request_error", "invalid"),
        (404, "invalid_request_error", "invalid"),
    ],
)
def test_a_no_of_stripes_is_told_by_its_kind_and_code(
    script: ScriptedStripe, api: StripeApi, call: str, status: int, kind: str, rejected: str
) -> None:
    script.refuse(status, kind, code="some_code", param="payment_method")
    with pytest.raises(Rejected) as raised:
        CALLS[call](api)
    assert raised.value.kind == rejected
    if rejected != "key_reused":
        assert (raised.value.code, raised.value.param) == ("some_code", "payment_method")
    assert "pm_secret" not in f"{raised.value} {vars(raised.value)}"


@pytest.mark.parametrize("call", ["retrieve", "search", "refunds"])
def test_a_question_that_stripe_refuses_is_unavailable(
    script: ScriptedStripe, api: StripeApi, call: str
) -> None:
    script.refuse(404, "invalid_request_error", code="resource_missing")
    assert type(raised_by(CALLS[call], api)) is Unavailable


@pytest.mark.parametrize("call", ["create", "retrieve", "confirm"])
def test_an_answer_that_is_no_intent_is_not_believed(
    script: ScriptedStripe, api: StripeApi, call: str
) -> None:
    script.say(200, {"object": "payment_intent", "id": "pi_1"})
    expected = Unknown if call in CHARGING else Unavailable
    assert type(raised_by(CALLS[call], api)) is expected


@pytest.mark.parametrize(
    "base",
    [
        "http://api.stripe.com",
        "http://localhost:1",
        "http://10.0.0.1",
        "ftp://api.stripe.com",
        "https://",
        "https://user:pass@api.stripe.com",
        "https://api.stripe.com/v1",
        "https://api.stripe.com?x=1",
        "api.stripe.com",
    ],
)
def test_a_key_goes_over_https_or_stays_on_this_machine(base: str) -> None:
    with pytest.raises(BadInput, match="api_base"):
        StripeApi(SecretStr("sk_live_1"), api_base=base)


@pytest.mark.parametrize("base", ["https://api.stripe.com", "http://[::1]:1/", "http://127.0.0.9"])
def test_such_an_address_is_taken(base: str) -> None:
    with closing(_Shut(StripeApi(KEY, api_base=base))) as made:
        assert KEY.get_secret_value() not in repr(vars(made.api))


class _Shut:
    def __init__(self, api: StripeApi) -> None:
        self.api = api

    def close(self) -> None:
        self.api.shut()


def test_without_the_library_the_provider_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stripe", None)
    with pytest.raises(Unavailable, match=r"paybill\[stripe\]"):
        StripeApi(KEY)
