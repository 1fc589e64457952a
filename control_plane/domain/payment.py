"""One attempt at collecting money for an invoice, and its machine. Not the provider or the clock.

An attempt goes out once: a further try is another attempt. One whose standing is unknown is settled
by asking the provider, by its word or by a human, never by trying again.
"""

from __future__ import annotations

from typing import Final, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from control_plane.domain import canonical
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.machine import Machine, Transient, Transition
from control_plane.domain.money import MINOR_MAX, Currency
from control_plane.domain.tenant import TenantId

PaymentState: TypeAlias = Literal[
    "created", "processing", "action_required", "unknown", "succeeded", "failed", "canceled"
]
# `no_method`: there was nothing to charge. `gateway_error`: the provider says it charged nothing.
FailureClass: TypeAlias = Literal["soft_decline", "hard_decline", "no_method", "gateway_error"]
# `pending`: the provider has it and is not done, as with a bank debit. `unknown`: nobody answered.
UnsettledClass: TypeAlias = Literal["unknown", "pending"]

ATTEMPTS_MAX: Final = 1_000
_TERMINAL = frozenset({"succeeded", "failed", "canceled"})
_ID_DIGITS = 32

PAYMENT = Machine(
    name="payment",
    initial="created",
    states=get_args(PaymentState),
    stable=frozenset({"created", "action_required", "unknown"}),
    transient={"processing": Transient(300, ("succeed",), lapse="lose", cancel="")},
    terminal=_TERMINAL,
    transitions=(
        Transition(
            "created",
            "submit",
            "processing",
            guard="invoice_owes, no_other_attempt_in_flight, intent_recorded",
            irreversible=True,
        ),
        # It never went out, so it counts as no try.
        Transition("created", "cancel", "canceled"),
        Transition("created", "fail", "failed", guard="no_method"),
        Transition("processing", "succeed", "succeeded", guard="provider_says_so"),
        Transition("processing", "fail", "failed", guard="provider_says_so, class_recorded"),
        Transition("processing", "require_action", "action_required", guard="provider_says_so"),
        Transition("processing", "pend", "unknown", guard="provider_is_not_done"),
        Transition("processing", "lose", "unknown"),
        Transition(
            "action_required",
            "confirm",
            "processing",
            guard="customer_acted, intent_recorded",
            irreversible=True,
        ),
        Transition("action_required", "succeed", "succeeded", guard="provider_says_so"),
        Transition("action_required", "fail", "failed", guard="provider_says_so, class_recorded"),
        Transition("action_required", "cancel", "canceled", guard="provider_has_canceled"),
        Transition("action_required", "lose", "unknown", guard="provider_does_not_answer"),
        Transition("unknown", "settle_succeeded", "succeeded", guard="probed_or_attested"),
        Transition(
            "unknown", "settle_failed", "failed", guard="probed_or_attested, class_recorded"
        ),
        Transition("unknown", "settle_action", "action_required", guard="probed_or_attested"),
        Transition("unknown", "ask_again", "unknown", guard="probe_gave_no_answer"),
    ),
)

IN_FLIGHT: Final[frozenset[str]] = PAYMENT.active


def attempt_id(invoice: str, number: int) -> str:
    """The id of an invoice's attempt of that number, from 1; also its key at the provider.

    A crash that makes the same attempt again comes with the same key, and charges once.
    """
    parts = {"of": "payment", "invoice": invoice, "number": number}
    return f"payment_{canonical.digest(parts)[:_ID_DIGITS]}"


class PaymentAttempt(BaseModel):
    """One attempt. `amount_minor` is in minor units of `currency`; times are aware.

    `method_reference` is the provider's token for what it is charged to. `failure` stands exactly
    when it failed, `unsettled` exactly while it is unknown. `changed_at` is its last event, `asked`
    how often the provider was asked since then while it was unknown or waited for the customer, and
    `heartbeat_at` when, of one that waits. `decline_code` is the provider's own word, for people;
    `action_url` is where a customer acts, where the provider has a page for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: BillingId
    invoice: BillingId
    tenant: TenantId
    number: int = Field(ge=1, le=ATTEMPTS_MAX)
    amount_minor: int = Field(ge=1, le=MINOR_MAX)
    currency: Currency
    provider: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    method_reference: str = Field(default="", max_length=120)
    provider_reference: str = Field(default="", max_length=255)
    state: PaymentState = "created"
    failure: FailureClass | None = None
    unsettled: UnsettledClass | None = None
    decline_code: str = Field(default="", pattern=r"^[a-z0-9_]{0,80}$")
    created_at: Instant
    changed_at: Instant
    deadline_at: Instant | None = None
    heartbeat_at: Instant | None = None
    action_url: str | None = Field(default=None, pattern=r"^https://[!-~]{1,2000}$")
    asked: int = Field(default=0, ge=0)
    version: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.id != attempt_id(self.invoice, self.number):
            raise ValueError("the id of an attempt follows from invoice and number")
        if (self.failure is not None) != (self.state == "failed"):
            raise ValueError("an attempt has a class of failure exactly when it failed")
        if (self.unsettled is not None) != (self.state == "unknown"):
            raise ValueError("an attempt is unsettled exactly while it is unknown")
        if (self.deadline_at is not None) != (self.state in PAYMENT.transient):
            raise ValueError("an attempt has a deadline exactly while it is processed")
        if self.action_url is not None and self.state != "action_required":
            raise ValueError("only an attempt that waits for the customer has a page to act on")
        if self.changed_at < self.created_at:
            raise ValueError("an attempt changes after it was created")
        return self
