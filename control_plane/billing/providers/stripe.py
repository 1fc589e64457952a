"""Payments through Stripe, one PaymentIntent an attempt. Not its webhooks, and not its subscriptions.

An intent is made first and paid by a second request. The first moves no money, so it may be repeated
by whoever wants to know what became of an attempt: the attempt's id is its idempotency key, and gives
the same intent back. Stripe keeps a key for a day; after that its search finds the intent. What has
failed is closed before it is told, because an intent that was declined could be paid once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from control_plane.billing.calendar import utc
from control_plane.billing.provider import (
    Answer,
    AnswerKind,
    Order,
    check_method,
    order_differs,
    unknown,
)
from control_plane.billing.providers.stripe_api import Rejected, StripeApi
from control_plane.billing.providers.stripe_intent import (
    ATTEMPT_KEY,
    CANCELED,
    INVOICE_KEY,
    NAME,
    NOT_CHARGEABLE,
    REFUND_KEY,
    SEALED,
    TENANT_KEY,
    CloseReason,
    Intent,
    Payer,
    answer_of,
    declined,
    failed,
    payer_of,
    stripe_amount,
)
from control_plane.domain.money import Money

# Stripe may forget a key after 24 hours: https://docs.stripe.com/api/idempotent_requests
KEY_KEPT: Final = timedelta(hours=23)

_REFUNDS: Mapping[str, AnswerKind] = {
    "succeeded": "succeeded",
    "pending": "pending",
    "requires_action": "action_required",
}


class StripeProvider:
    """Stripe over one account. `now` gives the aware instant by which a key's age is judged."""

    def __init__(self, api: StripeApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now

    @property
    def name(self) -> str:
        return NAME

    def charge(self, order: Order) -> Answer:
        check_method(self, order)
        payer, amount = _terms(order)
        if payer is None:
            return failed("no_method", "no_such_method")
        if amount is None:
            return failed("hard_decline", NOT_CHARGEABLE)
        intent = self._known(order) or self._searched(order)
        if intent is None:
            try:
                intent = self._made(order, payer, amount)
            except Rejected as refusal:
                return _never_made(refusal)
        _check(order, intent, amount)
        if not intent.is_untouched:
            return self._outcome(intent)
        return self._paid(intent, order, payer)

    def ask(self, order: Order) -> Answer | None:
        check_method(self, order)
        intent = self._found(order)
        if intent is None:
            return None
        if intent.is_untouched:
            intent = self._closed(intent, SEALED)
        return None if intent.is_sealed else self._outcome(intent)

    def cancel(self, order: Order) -> Answer | None:
        check_method(self, order)
        intent = self._found(order)
        answer = None if intent is None else answer_of(intent)
        if intent is None or answer is None or answer.kind != "action_required":
            return self.ask(order)
        return self._outcome(self._closed(intent, CANCELED))

    def refund(self, refund_id: str, order: Order, amount: Money) -> Answer:
        check_method(self, order)
        intent = self._found(order)
        if intent is None or intent.status != "succeeded":
            return failed("gateway_error", "nothing_charged")
        if amount.currency != order.amount.currency:
            return failed("gateway_error", "currency_differs")
        counted = stripe_amount(amount)
        if counted is None or counted < 1:
            return failed("gateway_error", NOT_CHARGEABLE)
        before = self._refund_before(refund_id, intent)
        if before is not None and before.get("amount") != counted:
            raise order_differs()
        return self._refunded(refund_id, intent, counted) if before is None else _refund(before)

    def _known(self, order: Order) -> Intent | None:
        return self._api.retrieve(order.reference) if order.reference else None

    def _searched(self, order: Order) -> Intent | None:
        # While the key is kept the key is better: the index of the search may lie behind.
        if order.made_at is not None and utc(self._now()) - order.made_at < KEY_KEPT:
            return None
        return self._api.search(ATTEMPT_KEY, order.attempt)

    def _made(self, order: Order, payer: Payer, amount: int) -> Intent:
        metadata = {
            ATTEMPT_KEY: order.attempt,
            INVOICE_KEY: order.invoice,
            TENANT_KEY: order.tenant,
        }
        currency = order.amount.currency.lower()
        try:
            return self._api.create(order.attempt, amount, currency, payer.customer, metadata)
        except Rejected as refusal:
            if refusal.kind == "key_reused":
                raise order_differs() from None
            raise

    def _found(self, order: Order) -> Intent | None:
        payer, amount = _terms(order)
        if payer is None or amount is None:
            return None  # it was never sent
        intent = self._known(order) or self._searched(order)
        if intent is None and _is_kept(order, self._now()):
            try:
                intent = self._made(order, payer, amount)
            except Rejected:
                return None
        if intent is not None:
            _check(order, intent, amount)
        return intent

    def _paid(self, intent: Intent, order: Order, payer: Payer) -> Answer:
        try:
            tried = self._api.confirm(intent.id, f"{order.attempt}_confirm", payer.payment_method)
        except Rejected as refusal:
            tried = self._api.retrieve(intent.id, may_charge=True)
            if tried.is_untouched:
                return self._not_taken(tried, refusal)
        return self._outcome(tried)

    def _not_taken(self, intent: Intent, refusal: Rejected) -> Answer:
        closed = self._closed(intent, None)
        if closed.status != "canceled":
            return self._outcome(closed)
        if refusal.kind == "card":
            return declined(refusal.code, intent.id)
        missing = refusal.param == "payment_method" or refusal.code == "resource_missing"
        return failed("no_method" if missing else "gateway_error", refusal.code, intent.id)

    def _outcome(self, intent: Intent) -> Answer:
        answer = answer_of(intent)
        if answer is not None:
            return answer
        closed = self._closed(intent, None)
        if closed.status == "canceled":
            # Stripe may forget with the closing why it was declined.
            return declined(intent.decline_code, intent.id)
        answer = answer_of(closed)
        if answer is None:
            raise unknown("Stripe neither closes the payment nor says how it ended")
        return answer

    def _closed(self, intent: Intent, reason: CloseReason | None) -> Intent:
        try:
            return self._api.close(intent.id, reason, may_charge=True)
        except Rejected:
            return self._api.retrieve(intent.id, may_charge=True)

    def _refund_before(self, refund_id: str, intent: Intent) -> Mapping[str, Any] | None:
        known = self._api.refunds(intent.id)
        return next((one for one in known if _refund_name(one) == refund_id), None)

    def _refunded(self, refund_id: str, intent: Intent, amount: int) -> Answer:
        try:
            made = self._api.refund(intent.id, refund_id, amount, {REFUND_KEY: refund_id})
        except Rejected as refusal:
            if refusal.kind == "key_reused":
                raise order_differs() from None
            return failed("gateway_error", refusal.code)
        return _refund(made)


def _terms(order: Order) -> tuple[Payer | None, int | None]:
    return payer_of(order.method.reference), stripe_amount(order.amount)


def _is_kept(order: Order, now: datetime) -> bool:
    # Without an age the search has not found it; then the key says so for certain, if it is young.
    return order.made_at is None or utc(now) - order.made_at < KEY_KEPT


def _never_made(refusal: Rejected) -> Answer:
    if refusal.param == "customer":
        return failed("no_method", refusal.code)
    about_amount = refusal.code.startswith("amount_") or refusal.param in {"amount", "currency"}
    return failed("hard_decline" if about_amount else "gateway_error", refusal.code)


def _check(order: Order, intent: Intent, amount: int) -> None:
    held = (intent.metadata.get(ATTEMPT_KEY), intent.amount, intent.currency.upper())
    if held != (order.attempt, amount, order.amount.currency):
        raise order_differs()


def _refund_name(refund: Mapping[str, Any]) -> object:
    metadata: Mapping[str, object] = refund.get("metadata") or {}
    return metadata.get(REFUND_KEY)


def _refund(refund: Mapping[str, Any]) -> Answer:
    kind = _REFUNDS.get(str(refund.get("status")))
    if kind is None:
        return failed("gateway_error", str(refund.get("failure_reason") or "refund_failed"))
    return Answer(kind=kind, reference=str(refund.get("id", "")))
