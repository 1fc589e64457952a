"""What a PaymentIntent of Stripe's means to us, and amounts as Stripe counts them. Not a call to Stripe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.billing.provider import Answer
from control_plane.domain.money import Money, exponent
from control_plane.domain.payment import FailureClass

NAME: Final = "stripe"
ATTEMPT_KEY: Final = "paybill_attempt"
INVOICE_KEY: Final = "paybill_invoice"
TENANT_KEY: Final = "paybill_tenant"
REFUND_KEY: Final = "paybill_refund"

CloseReason: TypeAlias = Literal["abandoned", "requested_by_customer"]
# Why an intent was closed is kept by Stripe, and tells later what no charge would tell.
SEALED: Final[CloseReason] = "abandoned"
CANCELED: Final[CloseReason] = "requested_by_customer"

# What Stripe's list of decline codes, and its rules for retries, say is never to be tried again with
# the same method: https://docs.stripe.com/declines/codes, .../billing/revenue-recovery/smart-retries
HARD_DECLINES: Final = frozenset(
    {
        "card_not_supported",
        "currency_not_supported",
        "do_not_try_again",
        "expired_card",
        "fraudulent",
        "highest_risk_level",
        "incorrect_number",
        "invalid_account",
        "invalid_number",
        "lost_card",
        "merchant_blacklist",
        "pickup_card",
        "restricted_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "security_violation",
        "stolen_card",
        "stop_payment_order",
        "transaction_not_allowed",
    }
)
GATEWAY_ERRORS: Final = frozenset(
    {"issuer_not_available", "processing_error", "reenter_transaction", "try_again_later"}
)
NOT_CHARGEABLE: Final = "amount_not_chargeable"

# https://docs.stripe.com/currencies: two decimals, but for these. Of three decimals the last must be
# zero; ISK and UGX are written with two, which must be zero.
_PLACES = 2
_OTHER_PLACES: Mapping[str, int] = MappingProxyType(
    {
        code: places
        for places, codes in {
            0: "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF",
            3: "BHD JOD KWD OMR TND",
        }.items()
        for code in codes.split()
    }
)
_WHOLE_ONLY = frozenset({"ISK", "UGX"})
_NOT_TAKEN = frozenset({"CLF", "IQD", "LYD", "UYI", "UYW"})

_AUTHENTICATE = "authentication_required"
_WORD = re.compile(r"[^a-z0-9_]")
_METHOD = re.compile(r"(?:(cus_[A-Za-z0-9_]+)/)?((?:pm|card|src)_[A-Za-z0-9_]+)")


class Payer(NamedTuple):
    """A method's reference taken apart: the customer it is attached to, None for none, and itself."""

    customer: str | None
    payment_method: str


class _Read(BaseModel):
    # Stripe adds fields as it goes on: what is not known here is passed over.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Problem(_Read):
    code: str | None = None
    decline_code: str | None = None


class _Outcome(_Read):
    reason: str | None = None


class _Charge(_Read):
    status: str | None = None
    failure_code: str | None = None
    outcome: _Outcome | None = None


class _Redirect(_Read):
    url: str | None = None


class _NextAction(_Read):
    redirect_to_url: _Redirect | None = None


class Intent(_Read):
    """The fields of a PaymentIntent that are looked at. `amount` is as Stripe counts it."""

    id: str = Field(pattern=r"^pi_[A-Za-z0-9_]{1,250}$")
    status: str
    amount: int
    currency: str
    metadata: dict[str, str] = Field(default_factory=dict)
    last_payment_error: _Problem | None = None
    # An id where it was not asked for whole.
    latest_charge: _Charge | str | None = None
    cancellation_reason: str | None = None
    next_action: _NextAction | None = None

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has tried to pay it yet, and somebody still could."""
        waits = self.status in {"requires_payment_method", "requires_confirmation"}
        return waits and self.last_payment_error is None and self.latest_charge is None

    @property
    def is_sealed(self) -> bool:
        """Whether it was closed before anybody had tried to pay it."""
        closed = self.status == "canceled" and self.cancellation_reason == SEALED
        return closed and not self.decline_code

    @property
    def decline_code(self) -> str:
        """Why the last try was declined; empty where none was, or none is known."""
        charge = self.latest_charge if isinstance(self.latest_charge, _Charge) else None
        told: list[str | None] = []
        if self.last_payment_error is not None:
            told += [self.last_payment_error.decline_code, self.last_payment_error.code]
        if charge is not None and charge.status == "failed":
            told += [charge.outcome.reason if charge.outcome else None, charge.failure_code]
        return next((_word(one) for one in told if one), "")


def read_intent(values: Mapping[str, Any]) -> Intent:
    """A PaymentIntent as Stripe wrote it. pydantic's ValidationError where it is none."""
    return Intent.model_validate(dict(values))


def payer_of(reference: str) -> Payer | None:
    """`pm_…` or `cus_…/pm_…` taken apart; None where it is neither. Old sources and cards are taken."""
    found = _METHOD.fullmatch(reference)
    return Payer(found[1], found[2]) if found else None


def stripe_amount(amount: Money) -> int | None:
    """The amount as Stripe counts it; None where Stripe does not take it exactly. Nothing is rounded."""
    currency = amount.currency
    if currency in _NOT_TAKEN:
        return None
    places = _OTHER_PLACES.get(currency, _PLACES)
    scaled, rest = divmod(amount.minor * 10**places, 10 ** exponent(currency))
    step = 100 if currency in _WHOLE_ONLY else 10 if places > _PLACES else 1
    return None if rest or scaled % step else scaled


def answer_of(intent: Intent) -> Answer | None:
    """What the intent says of its attempt; None where a try was declined, or none was made, and it is open.

    Open means that it could still succeed: a failure that may turn into a success is none.
    """
    reference = intent.id
    match intent.status:
        case "succeeded":
            return Answer(kind="succeeded", reference=reference)
        case "requires_action":
            return Answer(kind="action_required", reference=reference, action_url=_page(intent))
        case "canceled":
            return _closed(intent)
        case "requires_payment_method" | "requires_confirmation":
            if intent.decline_code != _AUTHENTICATE:
                return None
            return Answer(kind="action_required", reference=reference)
        case _:
            return Answer(kind="pending", reference=reference)


def declined(code: str, reference: str) -> Answer:
    """The answer of a decline with Stripe's code."""
    failure: FailureClass = "soft_decline"
    if code in HARD_DECLINES:
        failure = "hard_decline"
    elif code in GATEWAY_ERRORS:
        failure = "gateway_error"
    return failed(failure, code, reference)


def failed(failure: FailureClass, code: str, reference: str = "") -> Answer:
    """The answer of a failure of that class, with a code of Stripe's or ours."""
    return Answer(kind="failed", failure=failure, decline_code=_word(code), reference=reference)


def _closed(intent: Intent) -> Answer:
    code = intent.decline_code
    if code and code != _AUTHENTICATE:
        return declined(code, intent.id)
    if intent.is_sealed:
        return failed("gateway_error", "", intent.id)
    if intent.cancellation_reason == CANCELED:
        return Answer(kind="canceled", reference=intent.id)
    return declined("canceled", intent.id)


def _page(intent: Intent) -> str:
    action = intent.next_action
    url = action.redirect_to_url.url if action and action.redirect_to_url else None
    return url if url and re.fullmatch(r"https://[!-~]{1,2000}", url) else ""


def _word(code: str) -> str:
    return _WORD.sub("_", code.lower())[:80]
