"""Stripe's adapter where time has passed, answers differ or a window is open: charged once all the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from control_plane.billing.provider import Order, PaymentProvider
from control_plane.billing.providers.stripe import KEY_KEPT, StripeProvider
from control_plane.billing.providers.stripe_api import StripeApi
from control_plane.domain.money import Money
from control_plane.domain.payment import attempt_id
from control_plane.domain.terms import Method
from control_plane.errors import Refused, Unavailable, Unknown
from tests.support.payments import (
    KEY,
    NOW,
    FakeStripe,
    ScriptedStripe,
    fake_stripe,
    scripted_stripe,
)

PRICE = Money(minor=2_500, currency="EUR")
DAY = timedelta(days=1)
INTENTS = "/v1/payment_intents"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeStripe]:
    with fake_stripe() as running:
        yield running


@pytest.fixture
def script() -> Iterator[ScriptedStripe]:
    with scripted_stripe() as running:
        yield running


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stripe(server: FakeStripe, clock: Clock) -> Iterator[PaymentProvider]:
    api = StripeApi(KEY, api_base=server.url)
    yield StripeProvider(api, clock)
    api.shut()


@pytest.fixture
def scripted(script: ScriptedStripe, clock: Clock) -> Iterator[PaymentProvider]:
    api = StripeApi(KEY, api_base=script.url)
    yield StripeProvider(api, clock)
    api.shut()


def order(invoice: str = "invoice_1", reference: str = "pm_1", **facts: Any) -> Order:
    base: dict[str, Any] = {
        "attempt": attempt_id(invoice, 1),
        "invoice": invoice,
        "tenant": "acme",
        "amount": PRICE,
        "method": Method(provider="stripe", reference=reference),
        "made_at": NOW,
    }
    return Order.model_validate({**base, **facts})


def intent(status: str = "requires_payment_method", **fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": "pi_1",
        "object": "payment_intent",
        "status": status,
        "amount": 2_500,
        "currency": "eur",
        "metadata": {"paybill_attempt": order().attempt},
    }
    return {**base, **fields}


DECLINED = intent(
    last_payment_error={"code": "card_declined", "decline_code": "stolen_card"},
    latest_charge="ch_1",
)


# what Stripe forgets ---------------------------------------------------------------------------


@pytest.mark.parametrize("made_at", [NOW, None])
@pytest.mark.parametrize("reference", [True, False])
def test_an_attempt_whose_key_is_forgotten_is_found_again_and_not_charged_twice(
    server: FakeStripe,
    stripe: PaymentProvider,
    clock: Clock,
    made_at: datetime | None,
    reference: bool,
) -> None:
    invoice = f"forgotten_{made_at is None}_{reference}"
    asked = order(invoice, server.card("4242424242424242"), made_at=made_at)
    first = stripe.charge(asked)
    server.forget_keys()
    clock.at = NOW + DAY
    if reference:
        asked = asked.model_copy(update={"reference": first.reference})
    assert [stripe.charge(asked), stripe.ask(asked), stripe.cancel(asked)] == [first] * 3
    assert len(server.intents("paybill_invoice", invoice)) == 1


def test_an_old_attempt_that_stripe_never_had_is_none_and_leaves_nothing(
    server: FakeStripe, stripe: PaymentProvider, clock: Clock
) -> None:
    asked = order("never_had")
    clock.at = NOW + DAY
    assert stripe.ask(asked) is None
    assert server.intents("paybill_invoice", "never_had") == []


def test_a_refund_whose_key_is_forgotten_is_not_given_twice(
    server: FakeStripe, stripe: PaymentProvider, clock: Clock
) -> None:
    asked = order("refunded", server.card("4242424242424242"))
    stripe.charge(asked)
    part = Money(minor=100, currency="EUR")
    first = stripe.refund("refund_of_invoice", asked, part)
    server.forget_keys()
    clock.at = NOW + DAY
    assert stripe.refund("refund_of_invoice", asked, part) == first
    (found,) = server.intents("paybill_invoice", "refunded")
    assert found["latest_charge"]["amount_refunded"] == 100


def test_an_intent_carries_the_marks_of_its_attempt(
    server: FakeStripe, stripe: PaymentProvider
) -> None:
    asked = order("marked", server.card("4242424242424242"))
    stripe.charge(asked)
    (found,) = server.intents("paybill_invoice", "marked")
    assert found["metadata"] == {
        "paybill_attempt": asked.attempt,
        "paybill_invoice": "marked",
        "paybill_tenant": "acme",
    }


def test_a_question_after_the_method_has_changed_finds_the_attempt(
    server: FakeStripe, stripe: PaymentProvider
) -> None:
    card = server.card("4242424242424242")
    asked = order("changed_method", card)
    first = stripe.charge(asked)
    customer = card.partition("/")[0]
    changed = asked.model_copy(
        update={"method": Method(provider="stripe", reference=f"{customer}/pm_other")}
    )
    assert stripe.ask(changed) == first


# what the search is asked for ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "searches"),
    [(timedelta(0), False), (KEY_KEPT - timedelta(seconds=1), False), (KEY_KEPT, True)],
)
def test_the_search_is_asked_once_the_key_may_be_forgotten(
    script: ScriptedStripe,
    scripted: PaymentProvider,
    clock: Clock,
    age: timedelta,
    searches: bool,
) -> None:
    clock.at = NOW + age
    if searches:
        script.say(200, {"object": "search_result", "data": [], "has_more": False})
    script.say(200, intent())
    script.say(200, intent("succeeded"))
    assert scripted.charge(order()).kind == "succeeded"
    made = [f"POST {INTENTS}", f"POST {INTENTS}/pi_1/confirm"]
    assert script.asked == [f"GET {INTENTS}/search"] * searches + made


# windows ---------------------------------------------------------------------------------------


def test_a_decline_is_closed_before_it_is_told_and_keeps_its_word(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent())
    script.refuse(402, "card_error", code="card_declined", decline_code="stolen_card")
    script.say(200, DECLINED)
    script.say(200, intent("canceled"))  # with the closing the reason is gone
    found = scripted.charge(order())
    assert (found.failure, found.decline_code) == ("hard_decline", "stolen_card")
    assert script.asked[-1] == f"POST {INTENTS}/pi_1/cancel"
    assert "cancellation_reason" not in script.requests[-1].form


def test_a_decline_that_was_paid_before_it_could_be_closed_has_succeeded(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, DECLINED)
    script.refuse(400, "invalid_request_error", code="payment_intent_unexpected_state")
    script.say(200, intent("succeeded"))
    found = scripted.ask(order(reference="pm_1").model_copy(update={"reference": "pi_1"}))
    assert found is not None
    assert found.kind == "succeeded"


def test_a_decline_that_cannot_be_closed_is_unknown(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent())
    script.refuse(402, "card_error", code="card_declined")
    script.say(200, DECLINED)
    with pytest.raises(Unknown):
        scripted.charge(order())
    script.say(200, DECLINED)
    script.refuse(400, "invalid_request_error", code="payment_intent_unexpected_state")
    script.say(200, DECLINED)
    with pytest.raises(Unknown):
        scripted.ask(order().model_copy(update={"reference": "pi_1"}))


def test_a_charge_that_a_question_has_overtaken_charges_nothing(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent())
    script.refuse(400, "invalid_request_error", code="payment_intent_unexpected_state")
    script.say(200, intent("canceled", cancellation_reason="abandoned"))
    found = scripted.charge(order())
    assert (found.kind, found.failure) == ("failed", "gateway_error")


def test_a_question_that_a_charge_has_overtaken_tells_of_the_charge(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent())
    script.refuse(400, "invalid_request_error", code="payment_intent_unexpected_state")
    script.say(200, intent("succeeded"))
    found = scripted.ask(order())
    assert found is not None
    assert found.kind == "succeeded"


def test_a_cancel_that_the_customer_has_overtaken_tells_of_the_success(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent("requires_action"))
    script.refuse(400, "invalid_request_error", code="payment_intent_unexpected_state")
    script.say(200, intent("succeeded"))
    found = scripted.cancel(order().model_copy(update={"reference": "pi_1"}))
    assert found is not None
    assert found.kind == "succeeded"


def test_a_card_that_wants_its_owner_waits_for_the_customer(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent())
    script.refuse(402, "card_error", code="authentication_required")
    script.say(200, intent(last_payment_error={"code": "authentication_required"}))
    found = scripted.charge(order())
    assert (found.kind, found.reference) == ("action_required", "pi_1")
    assert len(script.asked) == 3


def test_an_answer_to_the_confirmation_that_breaks_off_is_unknown(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent())
    with pytest.raises(Unknown):
        scripted.charge(order())
    assert script.asked[-1] == f"POST {INTENTS}/pi_1/confirm"


def test_an_intent_that_could_not_be_made_charges_nothing(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    with pytest.raises(Unavailable):
        scripted.charge(order())
    assert script.asked == [f"POST {INTENTS}"]


# what Stripe does not take ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "failure"),
    [
        ({"code": "resource_missing", "param": "customer"}, "no_method"),
        ({"code": "amount_too_small"}, "hard_decline"),
        ({"code": "invalid_currency", "param": "currency"}, "hard_decline"),
        ({"code": "parameter_unknown", "param": "expand"}, "gateway_error"),
    ],
)
def test_what_cannot_be_made_has_failed_and_was_never_had(
    script: ScriptedStripe, scripted: PaymentProvider, told: dict[str, str], failure: str
) -> None:
    for _ in range(2):
        script.refuse(400, "invalid_request_error", **told)
    found = scripted.charge(order())
    assert (found.failure, found.decline_code) == (failure, told["code"])
    assert scripted.ask(order()) is None


@pytest.mark.parametrize(
    ("status", "kind", "told", "failure"),
    [
        (404, "invalid_request_error", {"code": "resource_missing"}, "no_method"),
        (400, "invalid_request_error", {"code": "x", "param": "payment_method"}, "no_method"),
        (400, "invalid_request_error", {"code": "parameter_unknown"}, "gateway_error"),
        (402, "card_error", {"code": "expired_card"}, "hard_decline"),
    ],
)
def test_a_confirmation_that_is_refused_is_closed_and_has_failed(
    script: ScriptedStripe,
    scripted: PaymentProvider,
    status: int,
    kind: str,
    told: dict[str, str],
    failure: str,
) -> None:
    script.say(200, intent())
    script.refuse(status, kind, **told)
    script.say(200, intent())
    script.say(200, intent("canceled"))
    found = scripted.charge(order())
    assert (found.failure, found.decline_code) == (failure, told["code"])
    assert script.asked[-1] == f"POST {INTENTS}/pi_1/cancel"


def test_an_amount_that_stripe_does_not_take_exactly_is_never_sent(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    asked = order(amount=Money(minor=5_124, currency="KWD"))
    found = scripted.charge(asked)
    assert (found.failure, found.decline_code) == ("hard_decline", "amount_not_chargeable")
    assert scripted.ask(asked) is None
    assert script.asked == []


@pytest.mark.parametrize(
    "other",
    [{"amount": 1}, {"currency": "usd"}, {"metadata": {}}, {"metadata": {"paybill_attempt": "x"}}],
)
def test_an_intent_of_another_order_is_refused(
    script: ScriptedStripe, scripted: PaymentProvider, other: dict[str, Any]
) -> None:
    script.say(200, intent(**other))
    with pytest.raises(Refused) as raised:
        scripted.charge(order())
    assert raised.value.code == "payment_order_differs"
    assert len(script.asked) == 1


def test_a_reference_that_the_account_does_not_know_is_no_answer(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.refuse(404, "invalid_request_error", code="resource_missing")
    with pytest.raises(Unavailable):
        scripted.ask(order().model_copy(update={"reference": "pi_1"}))


# refunds ---------------------------------------------------------------------------------------

REFUND: dict[str, Any] = {"id": "re_1", "object": "refund", "amount": 100}
NONE_YET: dict[str, Any] = {"object": "list", "data": [], "has_more": False}


@pytest.mark.parametrize(
    ("refund", "kind", "code"),
    [
        ({"status": "succeeded"}, "succeeded", ""),
        ({"status": "pending"}, "pending", ""),
        ({"status": "requires_action"}, "action_required", ""),
        ({"status": "failed", "failure_reason": "lost_or_stolen_card"}, "failed", ""),
        ({"status": "canceled"}, "failed", "refund_failed"),
    ],
)
def test_a_refund_is_told_by_its_state(
    script: ScriptedStripe,
    scripted: PaymentProvider,
    refund: dict[str, Any],
    kind: str,
    code: str,
) -> None:
    script.say(200, intent("succeeded"))
    script.say(200, NONE_YET)
    script.say(200, {**REFUND, **refund})
    found = scripted.refund("refund_1", order(), Money(minor=100, currency="EUR"))
    assert found.kind == kind
    assert found.decline_code == refund.get("failure_reason", code)
    assert script.requests[-1].headers["idempotency-key"] == "refund_1"
    assert script.requests[-1].form["metadata[paybill_refund]"] == "refund_1"


def test_a_refund_that_stripe_refuses_gives_nothing_back(
    script: ScriptedStripe, scripted: PaymentProvider
) -> None:
    script.say(200, intent("succeeded"))
    script.say(200, NONE_YET)
    script.refuse(400, "invalid_request_error", code="charge_already_refunded")
    found = scripted.refund("refund_1", order(), Money(minor=100, currency="EUR"))
    assert (found.failure, found.decline_code) == ("gateway_error", "charge_already_refunded")


@pytest.mark.parametrize(
    "amount", [Money(minor=0, currency="EUR"), Money(minor=-1, currency="EUR")]
)
def test_nothing_is_given_back_for_no_amount(
    script: ScriptedStripe, scripted: PaymentProvider, amount: Money
) -> None:
    script.say(200, intent("succeeded"))
    assert scripted.refund("refund_1", order(), amount).decline_code == "amount_not_chargeable"
    assert len(script.asked) == 1
