"""A subscription: its machine, what it entitles to and whether it is billed. Not its invoices."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from control_plane.domain.machine import Machine, Transition
from control_plane.domain.tenant import TenantId

SubscriptionState: TypeAlias = Literal[
    "scheduled",
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "unpaid",
    "paused",
    "canceled",
    "expired",
]

_TERMINAL = frozenset({"incomplete_expired", "canceled", "expired"})
_CANCELABLE_LATER = ("active", "trialing", "past_due")

# A subscription that starts at once is created `scheduled` and started in one transaction.
SUBSCRIPTION = Machine(
    name="subscription",
    initial="scheduled",
    states=get_args(SubscriptionState),
    stable=frozenset(get_args(SubscriptionState)) - _TERMINAL,
    transient={},
    terminal=_TERMINAL,
    transitions=(
        Transition("scheduled", "start", "incomplete", guard="total_above_zero"),
        Transition("scheduled", "start_paid", "active", guard="total_zero_or_paid"),
        Transition("scheduled", "start_trial", "trialing", guard="first_trial_of_tenant"),
        Transition("incomplete", "invoice_paid", "active"),
        Transition("incomplete", "expire_incomplete", "incomplete_expired", guard="open_23_h"),
        Transition("trialing", "invoice_paid", "active", guard="trial_over"),
        Transition("trialing", "invoice_failed", "past_due", guard="trial_over"),
        Transition("active", "invoice_failed", "past_due"),
        Transition("past_due", "invoice_paid", "active", guard="no_other_overdue_invoice"),
        Transition("past_due", "exhaust_retries", "unpaid", guard="dunning_ladder_over"),
        Transition("unpaid", "invoice_paid", "active", guard="required_invoices_paid"),
        Transition(frozenset({"active", "trialing"}), "pause", "paused", guard="plan_allows_pause"),
        Transition("paused", "resume", "active", guard="payment_method_present"),
        Transition("active", "change_plan", "active", guard="no_other_pending_change"),
        *(
            Transition(state, "cancel_at_period_end", state, guard="not_yet_ending")
            for state in _CANCELABLE_LATER
        ),
        *(
            Transition(state, "keep", state, guard="ending_and_period_not_over")
            for state in _CANCELABLE_LATER
        ),
        Transition("active", "end_term", "expired", guard="fixed_term_over"),
        Transition(
            frozenset(get_args(SubscriptionState)) - _TERMINAL,
            "cancel",
            "canceled",
            irreversible=True,
        ),
    ),
)


class Subscription(BaseModel):
    """One tenant's subscription to one version of a plan. Times are aware."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    tenant: TenantId
    plan: str = Field(min_length=1, max_length=40)
    plan_version: int = Field(ge=1)
    state: SubscriptionState
    current_period_end: AwareDatetime | None = None
    trial_ends_at: AwareDatetime | None = None
    grace_ends_at: AwareDatetime | None = None
    cancel_at_period_end: bool = False
    version: int = Field(default=1, ge=1)

    def entitled(self, now: datetime) -> bool:
        """Whether the plan's rights hold at `now` (aware).

        Derived from dates, not only from the state: a sweep that is late must give no rights. A
        missing grace end means no grace.
        """
        if self.cancel_at_period_end and _is_over(self.current_period_end, now):
            return False
        if self.state == "trialing":
            return not _is_over(self.trial_ends_at, now)
        if self.state == "past_due":
            return self.grace_ends_at is not None and now < self.grace_ends_at
        return self.state == "active"

    @property
    def billable(self) -> bool:
        """Whether charges accrue: not in a trial, a pause, or once collection was given up."""
        return self.state in {"active", "past_due"}


def _is_over(end: datetime | None, now: datetime) -> bool:
    return end is not None and now >= end
