"""Payments as a port: what a provider is asked and answers, and what that does to an attempt. Not a provider.

A provider's adapter keeps two promises on which everything else stands: one attempt is charged once
at most, however often it is asked for; and what it has told to be over never succeeds later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Protocol, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from control_plane.billing.calendar import utc
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.money import Money
from control_plane.domain.payment import PAYMENT, FailureClass, PaymentAttempt, PaymentState
from control_plane.domain.tenant import TenantId
from control_plane.domain.terms import Method
from control_plane.errors import BadInput, Refused, Unavailable, Unknown

AnswerKind: TypeAlias = Literal["succeeded", "failed", "action_required", "pending", "canceled"]
ProviderReference: TypeAlias = Annotated[str, Field(pattern=r"^[!-~]{0,255}$")]

BY_HAND: Final = "manual"
"""The provider that charges nothing: a human writes down what the bank shows."""

# The provider may tell of steps between, which the machine walks one by one: an attempt that it has
# canceled had waited for the customer, and one that it processes after waiting was confirmed.
_WALKS: Mapping[tuple[PaymentState, AnswerKind], tuple[str, ...]] = MappingProxyType(
    {
        ("processing", "succeeded"): ("succeed",),
        ("processing", "failed"): ("fail",),
        ("processing", "action_required"): ("require_action",),
        ("processing", "pending"): ("pend",),
        ("processing", "canceled"): ("require_action", "cancel"),
        ("action_required", "succeeded"): ("succeed",),
        ("action_required", "failed"): ("fail",),
        ("action_required", "action_required"): (),
        ("action_required", "pending"): ("confirm", "pend"),
        ("action_required", "canceled"): ("cancel",),
        ("unknown", "succeeded"): ("settle_succeeded",),
        ("unknown", "failed"): ("settle_failed",),
        ("unknown", "action_required"): ("settle_action",),
        ("unknown", "pending"): ("ask_again",),
        ("unknown", "canceled"): ("settle_action", "cancel"),
    }
)
_OVER: Final[frozenset[AnswerKind]] = frozenset({"succeeded", "failed", "canceled"})
# A page whose address has such a word among its parameters' names opens with more than its address.
_SECRETS: Final = ("secret", "token", "password")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Order(_Strict):
    """One attempt as it is put to the provider. `amount` is above zero.

    `attempt` is also the provider's key: the same attempt is always the same order. `reference` is
    the provider's own name for it, empty until it has told one. `made_at` (aware) is when the
    attempt was made, by which an adapter knows whether its provider still remembers the key.
    """

    attempt: BillingId
    invoice: BillingId
    tenant: TenantId
    amount: Money
    method: Method
    reference: ProviderReference = ""
    made_at: Instant | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.amount.minor < 1:
            raise ValueError("an order asks for more than nothing")
        return self


class Answer(_Strict):
    """What the provider says of an attempt, or of a refund.

    `failure` stands exactly when it failed. `canceled`: the provider has closed it, and nothing was
    charged. `reference` is the provider's name for it. `decline_code` is its own word for a failure,
    for people. `action_url` is where a customer acts; empty where the provider gives no page.
    """

    kind: AnswerKind
    failure: FailureClass | None = None
    reference: ProviderReference = ""
    decline_code: str = Field(default="", pattern=r"^[a-z0-9_]{0,80}$")
    action_url: str = Field(default="", pattern=r"^(https://[!-~]{1,2000})?$")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.failure is not None) != (self.kind == "failed"):
            raise ValueError("an answer has a class of failure exactly when it failed")
        if self.decline_code and self.kind != "failed":
            raise ValueError("only a failure has a decline code")
        if self.action_url and self.kind != "action_required":
            raise ValueError("only what waits for the customer has a page to act on")
        return self


class ProviderEvent(_Strict):
    """A provider's own word about an attempt, once its sender is proven. `occurred_at` is aware.

    A repeat has the same `id`. `answer` is None where the event says that something has happened
    and not how it ends: then the provider is asked.
    """

    id: str = Field(pattern=r"^[!-~]{1,255}$")
    occurred_at: Instant
    attempt: BillingId
    answer: Answer | None


class PaymentProvider(Protocol):
    """Collects money. A method of another provider's is BadInput."""

    @property
    def name(self) -> str:
        """The provider's name, as an attempt and a method carry it."""
        ...

    def charge(self, order: Order) -> Answer:
        """Collect it; the same attempt again never charges twice and gives what became of it.

        Unavailable (`payment_provider_unavailable`) where this call has charged nothing, and nothing
        will be unless it is asked for again; Unknown (`payment_unknown`) where that cannot be told;
        Refused (`payment_order_differs`) where the attempt was another order before. Whoever may
        have charged already, and was killed, uses `ask`: an earlier call is not what these tell of.
        """
        ...

    def ask(self, order: Order) -> Answer | None:
        """What became of the attempt. It charges nothing.

        None where nothing was charged, and from now on nothing can be: a request that is still
        under way comes too late. Unavailable or Unknown where the provider does not tell.
        """
        ...

    def cancel(self, order: Order) -> Answer | None:
        """Close an attempt that waits for the customer; after `canceled` it never succeeds.

        Else what has become of it: one that has succeeded, or is being processed, stays so. None as
        for `ask`.
        """
        ...

    def refund(self, refund_id: str, order: Order, amount: Money) -> Answer:
        """Give back a part or all of what was charged; the same id again gives nothing twice.

        `failed` with `gateway_error` where the provider gives nothing back, its code says why.
        Unavailable, Unknown and Refused as for `charge`; after Unknown, ask with the same id.
        """
        ...


class PaymentContradiction(Refused):
    """The provider says of an attempt what cannot be: a human looks at both."""

    code = "payment_contradiction"

    def __init__(self, message: str, fact: str) -> None:
        super().__init__(message, rule="payment_machine", fact=fact)


def unavailable(message: str) -> Unavailable:
    """The error of a provider that nothing was put to."""
    return Unavailable(message, code="payment_provider_unavailable")


def unknown(message: str) -> Unknown:
    """The error of a provider that did not say what became of what was put to it."""
    return Unknown(message, code="payment_unknown")


def order_differs() -> Refused:
    """The error of an attempt that comes again as another order."""
    return Refused(
        "the attempt stands at the provider as another order",
        code="payment_order_differs",
        rule="payment.idempotency",
        fact="attempt",
    )


def check_method(provider: PaymentProvider, order: Order) -> None:
    """BadInput where the order's method is another provider's."""
    if order.method.provider != provider.name:
        raise BadInput("method.provider", "must be the provider that is asked")


def order_of(attempt: PaymentAttempt, method: Method) -> Order:
    """The order of an attempt, always the same but for what the provider has told since.

    `method` must be the attempt's own. BadInput where it is of another provider.
    """
    if method.provider != attempt.provider:
        raise BadInput("method.provider", "must be the provider of the attempt")
    return Order(
        attempt=attempt.id,
        invoice=attempt.invoice,
        tenant=attempt.tenant,
        amount=Money(minor=attempt.amount_minor, currency=attempt.currency),
        method=method,
        reference=attempt.provider_reference,
        made_at=attempt.created_at,
    )


def submitted(attempt: PaymentAttempt, at: datetime, deadline: datetime) -> PaymentAttempt:
    """The attempt as it is committed before the provider is asked; `at` and `deadline` are aware.

    IllegalTransition where it has gone out before; BadInput for a deadline that is over.
    """
    if utc(deadline) <= utc(at):
        raise BadInput("deadline", "must lie after the instant of submission")
    return _moved(attempt, ("submit",), at, deadline_at=utc(deadline), heartbeat_at=utc(at))


def settled(attempt: PaymentAttempt, answer: Answer, at: datetime) -> PaymentAttempt:
    """The attempt after the provider's word at the aware instant `at`; unchanged by what it knows.

    Words may come twice and in any order. One that tells of a step before the end changes nothing
    after it, and of two failures the first stands. PaymentContradiction where money came in for an
    attempt that was over, is gone from one that succeeded, or the word is of another payment or of
    an attempt that never went out. A machine that is at its end has no way on: both words are
    kept for a human, and the attempt stays as it is.
    """
    _check_reference(attempt, answer)
    if attempt.state in PAYMENT.terminal:
        return _after_the_end(attempt, answer)
    if attempt.state == "created":
        return _without_method(attempt, answer, at)
    if answer.kind == "pending" and attempt.unsettled == "pending":
        return attempt
    walk = _WALKS[attempt.state, answer.kind]
    return _moved(attempt, walk, at, **_told(attempt, answer)) if walk else attempt


def probed(attempt: PaymentAttempt, answer: Answer | None, at: datetime) -> PaymentAttempt:
    """The attempt after the provider was asked and gave `answer` (see `PaymentProvider.ask`).

    None ends it as `gateway_error`. A further `pending`, or that the customer has still to act,
    counts as a question, so that the next one comes later. Otherwise, and for errors, as `settled`.
    """
    if answer is None:
        answer = Answer(
            kind="failed", failure="gateway_error", reference=attempt.provider_reference
        )
    if answer.kind == "pending" and attempt.unsettled == "pending":
        _check_reference(attempt, answer)
        return _moved(attempt, ("ask_again",), at, asked=attempt.asked + 1)
    if answer.kind == attempt.state == "action_required":
        _check_reference(attempt, answer)
        return _still_waits(attempt, at, page_of(answer))
    return settled(attempt, answer, at)


def unheard(attempt: PaymentAttempt, at: datetime) -> PaymentAttempt:
    """The attempt after a question that nobody answered: `lost`, but for what waits for the customer.

    That it waits was told, and holds until it is told otherwise: it counts as a question.
    """
    if attempt.state == "action_required":
        return _still_waits(attempt, at, attempt.action_url)
    return lost(attempt, at)


def page_of(answer: Answer) -> str | None:
    """Where the customer acts; None without a page, and for one whose address holds a secret."""
    if not answer.action_url:
        return None
    parts = urlsplit(answer.action_url)
    names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    hides = any(word in name for name in names for word in _SECRETS)
    return None if hides or parts.username or parts.password else answer.action_url


def lost(attempt: PaymentAttempt, at: datetime) -> PaymentAttempt:
    """The attempt after an Unknown, a deadline that passed or a question without an answer.

    One that has ended is unchanged: its end came by another way. IllegalTransition for one that
    never went out.
    """
    if attempt.state in PAYMENT.terminal:
        return attempt
    if attempt.state == "unknown":
        return _moved(attempt, ("ask_again",), at, asked=attempt.asked + 1)
    return _moved(attempt, ("lose",), at, unsettled="unknown", asked=0)


def unsent(attempt: PaymentAttempt, at: datetime) -> PaymentAttempt:
    """The attempt after `charge` raised Unavailable: it failed as `gateway_error`.

    One that has ended is unchanged. IllegalTransition where it was not going out: a provider that
    cannot be asked about an attempt says nothing of it.
    """
    if attempt.state in PAYMENT.terminal:
        return attempt
    if attempt.state != "processing":
        legal = PAYMENT.legal(attempt.state)
        raise IllegalTransition(PAYMENT.name, attempt.state, "fail", legal)
    return _moved(attempt, ("fail",), at, failure="gateway_error")


def _without_method(attempt: PaymentAttempt, answer: Answer, at: datetime) -> PaymentAttempt:
    if answer.failure != "no_method":
        raise PaymentContradiction("the attempt has never gone out", "state")
    return _moved(attempt, ("fail",), at, **_told(attempt, answer))


def _after_the_end(attempt: PaymentAttempt, answer: Answer) -> PaymentAttempt:
    charged = attempt.state == "succeeded"
    if answer.kind in _OVER and charged != (answer.kind == "succeeded"):
        raise PaymentContradiction("the provider says otherwise of how the attempt ended", "state")
    return attempt


def _check_reference(attempt: PaymentAttempt, answer: Answer) -> None:
    known = attempt.provider_reference
    if known and answer.reference and known != answer.reference:
        raise PaymentContradiction("the attempt is another payment at its provider", "reference")


def _still_waits(attempt: PaymentAttempt, at: datetime, page: str | None) -> PaymentAttempt:
    # Since when it waits does not change by asking: after so long it is closed.
    told = {"asked": attempt.asked + 1, "heartbeat_at": utc(at), "action_url": page}
    return PaymentAttempt.model_validate(dict(attempt) | told | {"version": attempt.version + 1})


def _told(attempt: PaymentAttempt, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"provider_reference": attempt.provider_reference or answer.reference}
    if answer.kind == "failed":
        told |= {"failure": answer.failure, "decline_code": answer.decline_code}
    if answer.kind == "pending":
        told |= {"unsettled": "pending", "asked": 0}
    if answer.kind == "action_required":
        told |= {"action_url": page_of(answer), "asked": 0}
    return told


def _moved(
    attempt: PaymentAttempt, walk: tuple[str, ...], at: datetime, **changes: Any
) -> PaymentAttempt:
    state: str = attempt.state
    for event in walk:  # at most two
        state = PAYMENT.next(state, event)
    kept = dict(attempt) | {"deadline_at": None, "heartbeat_at": None, "action_url": None}
    if state != "unknown":
        kept["unsettled"] = None
    kept |= {
        "state": state,
        # A word may be booked with an instant before the last one's: time does not run back.
        "changed_at": max(attempt.changed_at, utc(at)),
        "version": attempt.version + 1,
    }
    return PaymentAttempt.model_validate(kept | changes)
