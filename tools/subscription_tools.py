"""The tools that move a subscription, and the preview of a change, with their inputs. Not those of money alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from control_plane import subscription_commands as commands
from control_plane.domain.charge import Interval
from tools.agreements import taken
from tools.schemas import (
    COUPON,
    AddOns,
    DryRun,
    Instant,
    Key,
    TenantArguments,
)
from tools.spec import Result, ToolSpec
from tools.subscription_result import SubscriptionResult

QUANTITY_MAX = 1_000_000

Slug: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class PreviewChangeArguments(TenantArguments):
    """What the subscription is to become. What is left out stays as it is."""

    plan: Slug = Field(description="The plan that it is to be on; the present one to change less.")
    interval: Interval | None = Field(default=None, description="How often it is billed.")
    currency: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{3}$",
        description="Needed for the first plan with a price; from then on it stays.",
    )
    seats: int | None = Field(default=None, ge=0, le=QUANTITY_MAX, description="How many in all.")
    add_ons: AddOns | None = Field(
        default=None, description="Every add-on that is to be had: what is left out is given up."
    )
    coupon: str | None = Field(
        default=None,
        pattern=COUPON,
        description="A coupon's code. With a change that charges something it holds at once, else "
        "from the next period.",
    )
    remove_coupon: str | None = Field(
        default=None,
        pattern=COUPON,
        description="A coupon that is to hold no longer, from the next charge on; stands alone, "
        "with the present plan.",
    )


class ChangeSubscriptionArguments(PreviewChangeArguments):
    """The same, and the instant of the preview that it is to come to."""

    proration_at: Instant | None = Field(
        default=None,
        description="As the preview answered it, at most an hour ago: the change then comes to the "
        "very same amounts. Without it, it is reckoned as of the call.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class CancelSubscriptionArguments(TenantArguments):
    """Whose subscription ends, and when."""

    ends: Literal["now", "period_end"] = Field(
        description="With the period that runs, or at once; what is unused is then credited."
    )
    idempotency_key: Key
    dry_run: DryRun = False


class PauseSubscriptionArguments(TenantArguments):
    """Whose subscription rests, and until when."""

    until: Instant = Field(description="When it goes on by itself; must lie in the future.")
    idempotency_key: Key
    dry_run: DryRun = False


class ResumeSubscriptionArguments(TenantArguments):
    """Whose subscription goes on."""

    idempotency_key: Key
    dry_run: DryRun = False


class QuotedLine(Result):
    """A line of the invoice that the change would make."""

    kind: str
    reference: str
    description: str
    amount_minor: int
    period_start: str | None
    period_end: str | None


class ChangeQuoteResult(Result):
    """What a change comes to. Amounts are minor units of `currency`."""

    tenant: str
    plan: str
    plan_version: int
    direction: Literal["upgrade", "downgrade", "same"]
    applies: Literal["now", "when_paid", "period_end"]
    applies_at: str
    proration_at: str
    currency: str
    lines: list[QuotedLine]
    total_minor: int
    credit_minor: int
    due_minor: int
    recurring_minor: int
    recurring_discount_minor: int
    unfit: list[str]


def _wanted(asked: PreviewChangeArguments) -> dict[str, object]:
    return {
        "tenant": asked.tenant,
        "plan": asked.plan,
        "interval": asked.interval,
        "currency": asked.currency,
        "seats": asked.seats,
        "add_ons": None if asked.add_ons is None else taken(asked.add_ons),
        "coupon": asked.coupon,
        "remove_coupon": asked.remove_coupon,
    }


def _to_preview(asked: PreviewChangeArguments) -> commands.PreviewChange:
    return commands.PreviewChange.model_validate(_wanted(asked))


def _to_change(asked: ChangeSubscriptionArguments) -> commands.ChangeSubscription:
    at = None if asked.proration_at is None else datetime.fromisoformat(asked.proration_at)
    return commands.ChangeSubscription.model_validate({**_wanted(asked), "proration_at": at})


SUBSCRIPTION_TOOLS = (
    ToolSpec(
        name="subscription_preview_change",
        title="Preview a change of subscription",
        description="Tell what another plan, interval, number of seats or set of add-ons would "
        "come to: the lines, what is due now, and when it would hold. It changes nothing. Give its "
        "proration_at to subscription_change within an hour, and the change costs exactly that.",
        arguments=PreviewChangeArguments,
        result=ChangeQuoteResult,
        risk="read",
        domain="subscription",
        machine="query",
        to_command=_to_preview,
        next_tools=("plan_list", "subscription_get", "payment_method_set"),
    ),
    ToolSpec(
        name="subscription_change",
        title="Change a subscription",
        description="Another plan, interval, seats or add-ons. What is more holds once it is paid; "
        "what is less holds from the period's end. The payment method is charged: preview it "
        "first. Above a limit it waits for a human's approval. Declined, everything stays as it "
        "was. Answers 'running' with a run_id; follow it with run_get.",
        arguments=ChangeSubscriptionArguments,
        result=SubscriptionResult,
        risk="write",
        domain="subscription",
        machine="lifecycle",
        to_command=_to_change,
        next_tools=(
            "subscription_preview_change",
            "payment_method_set",
            "subscription_get",
            "run_get",
        ),
    ),
    ToolSpec(
        name="subscription_cancel",
        title="Cancel a subscription",
        description="End a subscription with its period, which subscription_resume takes back "
        "until then; or now, which cannot be taken back, credits what is unused and always waits "
        "for a human's approval. Answers 'running' with a run_id.",
        arguments=CancelSubscriptionArguments,
        result=SubscriptionResult,
        risk="destructive",
        domain="subscription",
        machine="lifecycle",
        to_command=lambda a: commands.CancelSubscription(tenant=a.tenant, ends=a.ends),
        next_tools=("subscription_get", "subscription_resume", "run_get"),
    ),
    ToolSpec(
        name="subscription_pause",
        title="Pause a subscription",
        description="No bills and no rights until an instant, where the plan allows it; what is "
        "unused is credited. Then it goes on by itself with a new period. Answers 'running' with "
        "a run_id.",
        arguments=PauseSubscriptionArguments,
        result=SubscriptionResult,
        risk="write",
        domain="subscription",
        machine="lifecycle",
        to_command=lambda a: commands.PauseSubscription(
            tenant=a.tenant, until=datetime.fromisoformat(a.until)
        ),
        next_tools=("subscription_get", "subscription_resume", "run_get"),
    ),
    ToolSpec(
        name="subscription_resume",
        title="Resume a subscription",
        description="Take back a cancellation at the period's end, or lift a pause: then a new "
        "period begins, and is billed. Answers 'running' with a run_id.",
        arguments=ResumeSubscriptionArguments,
        result=SubscriptionResult,
        risk="write",
        domain="subscription",
        machine="lifecycle",
        to_command=lambda a: commands.ResumeSubscription(tenant=a.tenant),
        next_tools=("subscription_get", "subscription_cancel", "payment_method_set", "run_get"),
    ),
)
