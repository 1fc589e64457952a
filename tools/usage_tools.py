"""The tools of usage and entitlements, with their inputs and outputs. Not what they do."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from control_plane import commands
from control_plane.domain import prices
from tools.schemas import DryRun, Instant, Key, TenantArguments, TenantName
from tools.spec import Arguments, Result, ToolSpec

EVENTS_MAX = 1000

EventName = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
Quantity = Annotated[
    prices.Quantity,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999},
                {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?$"},
            ]
        }
    ),
]
Feature = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]


class UsageEventArguments(Arguments):
    """One use of a meter. Source and id together name it: what was accepted counts once."""

    source: EventName = Field(description="What reports it, as the name of a service.")
    id: EventName = Field(description="Which event of that source; the same for every retry.")
    meter: Feature = Field(description="A meter that the tenant's plan declares.")
    quantity: Quantity = Field(description="A whole number, or a decimal as text.")
    occurred_at: Instant = Field(description="When it was used; it counts in that period.")


class RecordUsageArguments(Arguments):
    """What the tenant has used."""

    tenant: TenantName
    events: Annotated[tuple[UsageEventArguments, ...], Field(min_length=1, max_length=EVENTS_MAX)]
    idempotency_key: Key
    dry_run: DryRun = False


class SummarizeUsageArguments(TenantArguments):
    """Whose usage, and of which period."""

    at: Instant | None = Field(
        default=None, description="Any instant of the period; without it, the one that runs."
    )


class CheckEntitlementArguments(TenantArguments):
    """Whose entitlement, to what, and how much of it."""

    feature: Feature
    quantity: Quantity = Field(
        default=Decimal(1),
        description="How much more, as a whole number or as text; 0 only reads what is left.",
    )


class ReserveQuotaArguments(TenantArguments):
    """How much of which meter is held, and for what."""

    feature: Feature = Field(description="A meter that the tenant's plan grants.")
    resource: EventName = Field(description="What it is held for; it holds one quantity at a time.")
    quantity: Quantity = Field(gt=0, description="Above 0; a whole number, or a decimal as text.")
    expires_at: Instant | None = Field(
        default=None,
        description="When it ends by itself, at most 90 days ahead; without it, when released.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class ReleaseQuotaArguments(TenantArguments):
    """What lets go, and of which meter."""

    feature: Feature
    resource: EventName = Field(description="What it was held for.")
    idempotency_key: Key
    dry_run: DryRun = False


class UsageRejection(Result):
    """An event that was not accepted: its place in the list, from 0, and why."""

    index: int
    code: str


class UsageRecordedResult(Result):
    """What became of the events of one call."""

    accepted: int
    duplicates: int
    rejected: int
    rejections: list[UsageRejection]


class MeterLine(Result):
    """What one meter comes to, and how it stands to its limits while the period runs."""

    meter: str
    total: str
    reserved: str | None
    soft_limit: str | None
    limit: str | None
    status: Literal["allowed", "warned", "denied"] | None
    code: str | None
    remaining: str | None
    grace_ends_at: str | None


class UsageSummaryResult(Result):
    """A tenant's usage in one period; it takes events until `open_until`."""

    tenant: str
    period_start: str
    period_end: str
    open_until: str
    running: bool
    meters: list[MeterLine]


class QuotaResult(Result):
    """How a meter stood after the change; `changed` says whether this call has made it."""

    tenant: str
    feature: str
    resource: str
    changed: bool
    used: str
    reserved: str
    status: Literal["allowed", "warned", "denied"]
    code: str | None
    remaining: str | None
    grace_ends_at: str | None


class EntitlementResult(Result):
    """Whether so much more may be used now, and what would lift a no."""

    tenant: str
    feature: str
    quantity: str
    kind: Literal["boolean", "static", "metered"] | None
    status: Literal["allowed", "warned", "denied"]
    code: str | None
    remaining: str | None
    grace_ends_at: str | None
    lifted_by: list[str]
    resets_at: str | None


def _to_reserve(arguments: ReserveQuotaArguments) -> commands.ReserveQuota:
    return commands.ReserveQuota(
        tenant=arguments.tenant,
        feature=arguments.feature,
        resource=arguments.resource,
        quantity=format(arguments.quantity, "f"),
        expires_at=arguments.expires_at or "",
    )


def _to_record(arguments: RecordUsageArguments) -> commands.RecordUsage:
    told = [
        (one.source, one.id, one.meter, format(one.quantity, "f"), one.occurred_at)
        for one in arguments.events
    ]
    return commands.RecordUsage(tenant=arguments.tenant, events=json.dumps(told))


USAGE_TOOLS = (
    ToolSpec(
        name="usage_record",
        title="Record usage",
        description="Record 1 to 1,000 events of a tenant's usage. What was accepted counts once: "
        "send it again as often as you like. It answers how many were accepted and duplicates, and "
        "which were rejected and why. What is recorded cannot be taken back.",
        arguments=RecordUsageArguments,
        result=UsageRecordedResult,
        risk="write",
        domain="usage",
        machine="change",
        to_command=_to_record,
        next_tools=("usage_summary", "subscription_get"),
    ),
    ToolSpec(
        name="quota_reserve",
        title="Reserve quota",
        description="Hold so much of a meter for a resource before it is used. What is held counts "
        "as used: two at once never pass a hard limit. Asked again for the same resource and "
        "quantity it holds it once. Record what was used, then release it.",
        arguments=ReserveQuotaArguments,
        result=QuotaResult,
        risk="write",
        domain="usage",
        machine="change",
        to_command=_to_reserve,
        next_tools=("entitlement_check", "quota_release", "usage_summary", "subscription_get"),
    ),
    ToolSpec(
        name="quota_release",
        title="Release quota",
        description="Let go of what a resource holds of a meter; nothing happens where it holds "
        "nothing. Record what was used first: in between, both count.",
        arguments=ReleaseQuotaArguments,
        result=QuotaResult,
        risk="write",
        domain="usage",
        machine="change",
        to_command=lambda a: commands.ReleaseQuota(
            tenant=a.tenant, feature=a.feature, resource=a.resource
        ),
        next_tools=("usage_summary", "subscription_get"),
    ),
    ToolSpec(
        name="usage_summary",
        title="Summarize usage",
        description="Tell what each of a tenant's meters comes to in a billing period, and for "
        "the running one what is left of it.",
        arguments=SummarizeUsageArguments,
        result=UsageSummaryResult,
        risk="read",
        domain="usage",
        machine="query",
        to_command=lambda a: commands.SummarizeUsage(tenant=a.tenant, at=a.at or ""),
    ),
    ToolSpec(
        name="entitlement_check",
        title="Check an entitlement",
        description="Tell whether a tenant may use so much more of a feature now: allowed, warned "
        "or denied, with what is left and what would lift a no. It reserves nothing.",
        arguments=CheckEntitlementArguments,
        result=EntitlementResult,
        risk="read",
        domain="entitlement",
        machine="query",
        to_command=lambda a: commands.CheckEntitlement(
            tenant=a.tenant, feature=a.feature, quantity=format(a.quantity, "f")
        ),
    ),
)
