"""One refund to the means of payment, and its machine. Not the credit note that promises it, and not the provider.

A refund is asked for under one id as often as it takes: its provider gives nothing back twice. So
there is no telling one that has gone out from one that has not, and none is lost: it is asked for
until its provider says how it ended.
"""

from __future__ import annotations

from typing import Final, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from control_plane.domain import canonical
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.machine import Machine, Transition
from control_plane.domain.money import MINOR_MAX, Currency
from control_plane.domain.tenant import TenantId

RefundState: TypeAlias = Literal["pending", "succeeded", "failed"]

REFUND: Final = Machine(
    name="refund",
    initial="pending",
    states=get_args(RefundState),
    stable=frozenset({"pending"}),
    transient={},
    terminal=frozenset({"succeeded", "failed"}),
    transitions=(
        Transition("pending", "succeed", "succeeded", guard="provider_says_so"),
        Transition("pending", "fail", "failed", guard="provider_says_so"),
        Transition("pending", "ask_again", "pending", guard="provider_is_not_done_or_silent"),
    ),
)
_ID_DIGITS: Final = 32


def refund_id(credit_note: str) -> str:
    """The id of a credit note's refund; also its key at the provider, so that it is given once."""
    parts = {"of": "refund", "credit_note": credit_note}
    return f"refund_{canonical.digest(parts)[:_ID_DIGITS]}"


class Refund(BaseModel):
    """One refund of a part or all of an attempt; `amount_minor` is in minor units of `currency`.

    Times are aware. `asked` is how often its provider was asked for it, and `asked_at` when last.
    `reference` is the provider's name for it, empty until it has told one; `decline_code` is its
    own word for a failure, for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: BillingId
    tenant: TenantId
    credit_note: BillingId
    invoice: BillingId
    attempt: BillingId
    amount_minor: int = Field(ge=1, le=MINOR_MAX)
    currency: Currency
    state: RefundState = "pending"
    reference: str = Field(default="", pattern=r"^[!-~]{0,255}$")
    decline_code: str = Field(default="", pattern=r"^[a-z0-9_]{0,80}$")
    created_at: Instant
    changed_at: Instant
    asked: int = Field(default=0, ge=0)
    asked_at: Instant | None = None
    version: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.id != refund_id(self.credit_note):
            raise ValueError("the id of a refund follows from its credit note")
        if self.changed_at < self.created_at:
            raise ValueError("a refund changes after it was created")
        if (self.asked_at is not None) != (self.asked > 0):
            raise ValueError("a refund was asked for exactly when that is counted")
        if self.decline_code and self.state != "failed":
            raise ValueError("only a failure has a decline code")
        return self
