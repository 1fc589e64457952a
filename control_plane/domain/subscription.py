"""A subscription: its machine, what it entitles to and whether it is billed. Not its invoices."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.buyer import Buyer
from control_plane.domain.gate import GateLevel, GateStep, level_at
from control_plane.domain.instant import Instant
from control_plane.domain.machine import Machine, Transition
from control_plane.domain.tenant import TenantId
from control_plane.domain.terms import Method, Running, Terms, Unbilled

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

TrialEnd: TypeAlias = Literal["pause", "cancel"]
Exhausted: TypeAlias = Literal["unpaid", "cancel"]

INCOMPLETE_OPEN: Final = timedelta(hours=23)  # what card schemes leave for a first payment

_TERMINAL = frozenset({"incomplete_expired", "canceled", "expired"})
_CANCELABLE_LATER = ("active", "trialing", "past_due")
_AT_TRIAL_END = {"pause": "end_trial_paused", "cancel": "end_trial_canceled"}
_AT_EXHAUSTION = {"unpaid": "exhaust_retries", "cancel": "exhaust_retries_canceled"}

_STARTS = (
    # A subscription that starts at once is created `scheduled` and started in one transaction.
    Transition("scheduled", "start", "incomplete", guard="start_reached, total_above_zero"),
    Transition(
        "scheduled", "start_paid", "active", guard="start_reached, total_zero_or_paid_or_by_invoice"
    ),
    Transition("scheduled", "start_trial", "trialing", guard="start_reached, first_trial"),
    Transition("incomplete", "invoice_paid", "active"),
    Transition(
        "incomplete", "expire_incomplete", "incomplete_expired", guard="open_23_h, invoice_void"
    ),
    # The first invoice is then open: what comes of it moves the subscription further.
    Transition(
        "trialing", "end_trial", "active", guard="trial_over, method_present_or_paid_by_invoice"
    ),
    Transition("trialing", "invoice_paid", "active", guard="trial_over"),
    Transition("trialing", "invoice_failed", "past_due", guard="trial_over"),
    Transition(
        "trialing", "end_trial_paused", "paused", guard="trial_over, no_method, plan_pauses"
    ),
    Transition(
        "trialing",
        "end_trial_canceled",
        "canceled",
        guard="trial_over, no_method, plan_cancels",
        irreversible=True,
    ),
)
_DEBTS = (
    # A second invoice may fail while one is overdue: renewals come faster than the ladder ends.
    Transition(frozenset({"active", "past_due"}), "invoice_failed", "past_due"),
    Transition(
        frozenset({"active", "past_due"}),
        "invoice_overdue",
        "past_due",
        guard="collected_by_invoice",
    ),
    Transition("past_due", "invoice_paid", "active", guard="no_other_overdue_invoice"),
    # Void, or forgiven as uncollectible.
    Transition("past_due", "invoice_waived", "active", guard="no_other_overdue_invoice"),
    Transition("past_due", "exhaust_retries", "unpaid", guard="dunning_ladder_over"),
    Transition(
        "past_due",
        "exhaust_retries_canceled",
        "canceled",
        guard="dunning_ladder_over, plan_cancels",
        irreversible=True,
    ),
    Transition("unpaid", "invoice_paid", "active", guard="required_invoices_paid"),
    # Else one whose debts were all forgiven could never be active again.
    Transition("unpaid", "invoice_waived", "active", guard="required_invoices_paid_or_waived"),
    Transition("unpaid", "end_dunning", "canceled", guard="last_rung_of_ladder", irreversible=True),
)
_CHANGES = (
    Transition(
        frozenset({"active", "trialing"}),
        "pause",
        "paused",
        guard="plan_allows_pause, until_in_future",
    ),
    Transition("paused", "resume", "active", guard="payment_method_present"),
    Transition("active", "change_plan", "active", guard="no_other_pending_change"),
    *(
        Transition(state, event, state, guard=guard)
        for state in ("active", "past_due")
        for event, guard in (
            ("apply_change", "change_pending, its_instant_reached, paid_or_nothing_due"),
            ("drop_change", "change_pending"),
        )
    ),
)
_ENDS = (
    *(
        Transition(state, "cancel_at_period_end", state, guard="not_yet_ending")
        for state in _CANCELABLE_LATER
    ),
    *(
        Transition(state, "keep", state, guard="ending_and_period_not_over")
        for state in _CANCELABLE_LATER
    ),
    Transition(
        frozenset(_CANCELABLE_LATER),
        "end_period",
        "canceled",
        guard="ending_and_period_over",
        irreversible=True,
    ),
    # Whatever else it is in: else one in debt would be billed for the time after its term.
    Transition(
        frozenset({"active", "past_due", "unpaid", "paused"}),
        "end_term",
        "expired",
        guard="fixed_term_over",
    ),
    Transition(
        frozenset(get_args(SubscriptionState)) - _TERMINAL, "cancel", "canceled", irreversible=True
    ),
)

SUBSCRIPTION = Machine(
    name="subscription",
    initial="scheduled",
    states=get_args(SubscriptionState),
    stable=frozenset(get_args(SubscriptionState)) - _TERMINAL,
    transient={},
    terminal=_TERMINAL,
    transitions=(*_STARTS, *_DEBTS, *_CHANGES, *_ENDS),
)


class PendingChange(BaseModel):
    """A change of plan that was asked for and does not hold yet.

    `at` is the instant from which it is to hold. `invoice` is the one that must be paid first; an
    empty one says that nothing is due, as for a downgrade. `terms` and `running` are what will hold.
    `coupon` was redeemed with it, and is given back where nothing comes of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    plan: str = Field(min_length=1, max_length=40)
    plan_version: int = Field(ge=1)
    at: Instant
    invoice: str = Field(default="", max_length=64)
    expires_at: Instant | None = None
    terms: Terms | None = None
    running: tuple[Running, ...] = ()
    coupon: str = Field(default="", max_length=40)


class Subscription(BaseModel):
    """One tenant's subscription to one version of a plan. Times are aware.

    `collection_paused` stops the collecting of money and the ladder of debts, which afterwards
    counts from their own days; it is not the state `paused`, in which nothing is billed and nobody is
    entitled. `paused_until` counts only in that
    state, `incomplete_ends_at` only in `incomplete`. One without `terms` is free: nothing is due, and
    it has no periods. `gates` is what its debts close, and from when on. `never_suspend` is an
    operator's tag, under which no debt takes access away. `buyer` is who its invoices are made out
    to, as far as that is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    tenant: TenantId
    plan: str = Field(min_length=1, max_length=40)
    plan_version: int = Field(ge=1)
    state: SubscriptionState
    starts_at: Instant | None = None
    incomplete_ends_at: Instant | None = None
    terms: Terms | None = None
    method: Method | None = None
    method_set_at: Instant | None = None
    buyer: Buyer | None = None
    current_period_start: Instant | None = None
    current_period_end: Instant | None = None
    running: tuple[Running, ...] = ()
    unbilled: Unbilled | None = None
    gates: tuple[GateStep, ...] = ()
    never_suspend: bool = False
    trial_ends_at: Instant | None = None
    grace_ends_at: Instant | None = None
    paused_until: Instant | None = None
    term_ends_at: Instant | None = None
    cancel_at_period_end: bool = False
    collection_paused: bool = False
    pending_change: PendingChange | None = None
    version: int = Field(default=1, ge=1)

    def entitled(self, now: datetime) -> bool:
        """Whether the plan's rights hold at `now` (aware).

        Derived from dates, not only from the state: a sweep that is late must give no rights. A
        missing grace end means no grace.
        """
        if self._has_ended(now):
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

    def gate_level(self, now: datetime) -> GateLevel:
        """What its debts close at `now` (aware)."""
        return level_at(self.gates, now)

    def due_event(self, now: datetime, *, has_method: bool, at_trial_end: TrialEnd) -> str | None:
        """The event that time alone makes due at `now`, or None.

        A trial that ends with a payment method is no such case: its first invoice decides. Nor is
        a start, which hangs on what it costs. `resume` is due where a pause is over and there is a
        payment method; without one the subscription stays paused.
        """
        if self.state in _CANCELABLE_LATER and self._ends_with_period(now):
            return "end_period"
        match self.state:
            case "incomplete" if _is_over(self.incomplete_ends_at, now):
                return "expire_incomplete"
            case "trialing" if _is_over(self.trial_ends_at, now) and not has_method:
                return _AT_TRIAL_END[at_trial_end]
            case "active" | "past_due" | "unpaid" | "paused" if _is_over(self.term_ends_at, now):
                return "end_term"
            case "paused" if _is_over(self.paused_until, now) and has_method:
                return "resume"
            case _:
                return None

    def _has_ended(self, now: datetime) -> bool:
        return self._ends_with_period(now) or _is_over(self.term_ends_at, now)

    def _ends_with_period(self, now: datetime) -> bool:
        return self.cancel_at_period_end and _is_over(self.current_period_end, now)


def exhaustion_event(setting: Exhausted) -> str:
    """The event by which a plan's setting gives up a debt that nobody pays."""
    return _AT_EXHAUSTION[setting]


def _is_over(end: datetime | None, now: datetime) -> bool:
    return end is not None and now >= end
