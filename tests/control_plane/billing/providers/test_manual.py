"""Collection by invoice: whatever is asked is pending until a human books it."""

from __future__ import annotations

import pytest

from control_plane.billing.provider import Order, PaymentProvider
from control_plane.billing.providers.manual import ManualProvider
from control_plane.domain.money import Money
from control_plane.domain.terms import Method
from control_plane.errors import BadInput

PRICE = Money(minor=1_000, currency="EUR")
ORDER = Order(
    attempt="payment_1",
    invoice="invoice_1",
    tenant="acme",
    amount=PRICE,
    method=Method(provider="manual", reference="bank_transfer"),
)


def test_an_attempt_stays_pending_however_often_it_is_asked_for() -> None:
    provider: PaymentProvider = ManualProvider()
    answers = [provider.charge(ORDER), provider.charge(ORDER), provider.ask(ORDER)]
    assert {one.kind for one in answers if one} == {"pending"}
    assert len({one.reference for one in answers if one}) == 1


def test_an_attempt_can_be_canceled_for_another_method() -> None:
    assert ManualProvider().cancel(ORDER).kind == "canceled"


def test_a_refund_is_pending_too() -> None:
    assert ManualProvider().refund("refund_1", ORDER, PRICE).kind == "pending"


def test_a_method_of_another_provider_is_bad_input() -> None:
    strange = ORDER.model_copy(update={"method": Method(provider="stripe", reference="pm_1")})
    provider = ManualProvider()
    for call in (provider.charge, provider.ask, provider.cancel):
        with pytest.raises(BadInput, match=r"method\.provider"):
            call(strange)
    with pytest.raises(BadInput, match=r"method\.provider"):
        provider.refund("refund_1", strange, PRICE)
