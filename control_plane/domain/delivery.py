"""The delivery of one webhook to one endpoint, and its machine. Not the message, nor who sends it.

Other than a payment, an attempt whose standing is unknown is made again: the message keeps its id,
by which the receiver knows a repeat. A message that was delivered is sent again as another delivery.
"""

from __future__ import annotations

from typing import Final, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.machine import Machine, Transient, Transition
from control_plane.domain.tenant import TenantId

DeliveryState: TypeAlias = Literal[
    "pending", "sending", "dead_lettered", "delivered", "canceled", "expired"
]
# `rejected`: the receiver will never take these bytes. `gone`: it answered 410.
DeadCause: TypeAlias = Literal["exhausted", "rejected", "gone", "endpoint_disabled"]

ATTEMPTS_MAX: Final = 100
SEND_DEADLINE_S: Final = 60

DELIVERY = Machine(
    name="delivery",
    initial="pending",
    states=get_args(DeliveryState),
    stable=frozenset({"pending", "dead_lettered"}),
    transient={"sending": Transient(SEND_DEADLINE_S, ("succeed",), lapse="lose", cancel="")},
    terminal=frozenset({"delivered", "canceled", "expired"}),
    transitions=(
        Transition(
            "pending",
            "send",
            "sending",
            guard="attempt_due, endpoint_enabled, attempts_left",
            irreversible=True,
        ),
        Transition("pending", "disable", "dead_lettered", guard="endpoint_disabled"),
        Transition("sending", "succeed", "delivered", guard="answered_2xx"),
        Transition("sending", "fail", "pending", guard="attempts_left, next_attempt_set"),
        Transition("sending", "reject", "dead_lettered", guard="answered_final"),
        Transition(
            "sending",
            "gone",
            "dead_lettered",
            guard="answered_410, endpoint_disabled_in_same_transaction",
        ),
        Transition("sending", "lose", "pending", guard="attempts_left, next_attempt_set"),
        Transition("sending", "exhaust", "dead_lettered", guard="no_attempts_left"),
        Transition("dead_lettered", "replay", "pending", guard="asked_for, endpoint_enabled"),
        Transition("dead_lettered", "expire", "expired", guard="retention_over"),
        # The endpoint was removed; a request on its way is answered first.
        Transition(
            frozenset({"pending", "dead_lettered"}), "cancel", "canceled", guard="endpoint_removed"
        ),
    ),
)


class Delivery(BaseModel):
    """One delivery. `message` is the id that the receiver sees; times are aware.

    `attempts` counts those begun since it was made or replayed for the last time, `replays` how
    often it was replayed. `next_attempt_at` stands exactly while it is pending, `cause` exactly
    while it is dead-lettered, `deadline_at` exactly while it is sent. `last_status` is the HTTP
    status of the last answer, None where none came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: BillingId
    tenant: TenantId
    endpoint: BillingId
    message: BillingId
    state: DeliveryState = "pending"
    attempts: int = Field(default=0, ge=0, le=ATTEMPTS_MAX)
    replays: int = Field(default=0, ge=0)
    next_attempt_at: Instant | None = None
    cause: DeadCause | None = None
    last_status: int | None = Field(default=None, ge=100, le=999)
    created_at: Instant
    changed_at: Instant
    deadline_at: Instant | None = None
    heartbeat_at: Instant | None = None
    version: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.next_attempt_at is not None) != (self.state == "pending"):
            raise ValueError("a delivery has a next attempt exactly while it is pending")
        if (self.cause is not None) != (self.state == "dead_lettered"):
            raise ValueError("a delivery has a cause exactly while it is dead-lettered")
        if (self.deadline_at is not None) != (self.state in DELIVERY.transient):
            raise ValueError("a delivery has a deadline exactly while it is sent")
        if self.changed_at < self.created_at:
            raise ValueError("a delivery changes after it was created")
        return self
