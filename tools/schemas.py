"""The typed inputs and outputs of the tools. No behaviour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from control_plane.domain.approval import ApprovalState
from control_plane.domain.isolation import Cloud
from control_plane.domain.run import RunState
from tools.spec import Arguments, Result

TenantName = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$",
        description="The tenant's id: its slug, within your grant.",
    ),
]
Handle = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Key = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._:-]{8,80}$",
        description="Yours to choose, one for each intended change. The same key with the same "
        "arguments is the same call; with others it is refused.",
    ),
]
DryRun = Annotated[bool, Field(description="Plan only: answer what would happen, change nothing.")]
After = Annotated[
    str | None,
    Field(max_length=8192, description="The next_after of the page before, for the same question."),
]


def _in_full(text: str) -> str:
    # Read only to see that there is such a day and time: to write it out anew takes far longer.
    datetime.fromisoformat(text)
    seconds, _, fraction = text[:-1].partition(".")
    return f"{seconds}.{fraction:0<6}Z"


Instant = Annotated[
    str,
    Field(pattern=r"^[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"),
    AfterValidator(_in_full),
]


class NoArguments(Arguments):
    """Nothing to say."""


class ListTenantsArguments(Arguments):
    """Which page."""

    limit: int = Field(default=50, ge=1, le=100)
    after: TenantName | None = None


class TenantArguments(Arguments):
    """Which tenant."""

    tenant: TenantName


class MethodArguments(Arguments):
    """How a tenant pays: a provider, and its own token. Never the data of a card."""

    provider: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    reference: str = Field(pattern=r"^[!-~]{1,120}$")


class AddOnArguments(Arguments):
    """So many of one add-on of the plan."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    quantity: int = Field(ge=1, le=1_000_000)


def _each_once(add_ons: tuple[AddOnArguments, ...]) -> tuple[AddOnArguments, ...]:
    if len({one.name for one in add_ons}) != len(add_ons):
        raise ValueError("each add-on stands only once")
    return add_ons


AddOns: TypeAlias = Annotated[
    tuple[AddOnArguments, ...], Field(max_length=100), AfterValidator(_each_once)
]


COUPON: Final = r"^[A-Z0-9][A-Z0-9_-]{1,39}$"


class BuyerArguments(Arguments):
    """Who invoices are made out to, and where: that decides how they are taxed."""

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="The name on invoices; without it, the tenant's.",
    )
    address: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,120}$")], ...], Field(max_length=6)
    ] = Field(default=(), description="Street and place, a line each.")
    country: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2, as `DE`.")
    business: bool = Field(default=False, description="Whether it buys as a business.")
    vat_id: str | None = Field(
        default=None,
        pattern=r"^[A-Z0-9][A-Z0-9 .+*/-]{0,28}[A-Z0-9]$",
        description="With the country's prefix; nobody is asked whether it holds.",
    )


class AgreementArguments(Arguments):
    """The terms of a plan with a price. ``automatic`` collects from the method at once."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    interval: Literal["month", "year"] = "month"
    zone: str = Field(default="UTC", max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")
    collection: Literal["automatic", "by_invoice"] = "automatic"
    seats: int = Field(default=0, ge=0, le=1_000_000)
    add_ons: AddOns = ()
    method: MethodArguments | None = None
    billing_details: BuyerArguments | None = Field(
        default=None, description="Who invoices are made out to."
    )
    coupon: str | None = Field(
        default=None, pattern=COUPON, description="A coupon's code, to redeem it with the plan."
    )


class OnboardArguments(Arguments):
    """The tenant that is to be. Plan, isolation, cloud and region are proposals; policy decides."""

    tenant: TenantName
    display_name: str = Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")
    plan: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    isolation: Literal["silo", "bridge", "pooled"]
    cloud: Cloud = Field(
        default="local", description="Where its stack stands; the plan says where it may."
    )
    region: str = Field(default="local", pattern=r"^[a-z][a-z0-9-]{0,39}$")
    subscription: AgreementArguments | None = Field(
        default=None, description="The terms, where the plan has a price."
    )
    idempotency_key: Key
    dry_run: DryRun = False


class SuspendArguments(Arguments):
    """The tenant, why it is shut, and what stays open. ``billing`` is no reason of yours."""

    tenant: TenantName
    reason: Literal["operator", "security", "quota"]
    access: Literal["read_only", "none"] = Field(
        default="none", description="What stays open at most: reads, or nothing."
    )
    idempotency_key: Key
    dry_run: DryRun = False


class ResumeArguments(Arguments):
    """The tenant, and the reason that no longer holds. ``billing`` is cleared by a payment alone."""

    tenant: TenantName
    reason: Literal["operator", "security", "quota", "billing"]
    idempotency_key: Key
    dry_run: DryRun = False


class OffboardArguments(Arguments):
    """The tenant that is to go. Whether it may is policy's, and always a human's, to say."""

    tenant: TenantName
    cancel_subscription: bool = Field(
        default=False,
        description="End its subscription with it; without that an active one refuses the call.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class RestoreArguments(Arguments):
    """The offboarded tenant that is to come back, as it was."""

    tenant: TenantName
    idempotency_key: Key
    dry_run: DryRun = False


class RunArguments(Arguments):
    """Which run."""

    run_id: Handle


class ListRunsArguments(Arguments):
    """Which runs, and which page of them."""

    tenant: TenantName | None = None
    state: Annotated[tuple[RunState, ...], Field(min_length=1)] | Literal["active"] | None = Field(
        default=None, description="A list of states, or active: every run that is not over."
    )
    kind: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,39}$")
    limit: int = Field(default=50, ge=1, le=100)
    after: After = None


class CancelArguments(Arguments):
    """Which run to stop."""

    run_id: Handle
    idempotency_key: Key
    dry_run: DryRun = False


class ApprovalArguments(Arguments):
    """Which approval."""

    approval_id: Handle


class ListApprovalsArguments(Arguments):
    """Which approvals, and which page of them."""

    tenant: TenantName | None = None
    state: Annotated[tuple[ApprovalState, ...], Field(min_length=1)] | None = None
    limit: int = Field(default=50, ge=1, le=100)
    after: After = None


class SearchAuditArguments(Arguments):
    """Which leaves of the log, and which page of them."""

    tenant: TenantName | None = None
    kind: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_.]{0,39}$")
    since: Instant | None = None
    until: Instant | None = None
    limit: int = Field(default=50, ge=1, le=100)
    after: After = None


class CallerResult(Result):
    """Who you are here."""

    principal: str
    actor: str
    actor_kind: str
    roles: list[str]
    tenants: list[str]


class PlansResult(Result):
    """The plans on offer, by rank."""

    plans: list[dict[str, Any]]


class TenantResult(Result):
    """A tenant."""

    tenant: str
    display_name: str
    state: str
    isolation: str
    plan: str
    cloud: str
    region: str
    access_mode: str
    suspend_reasons: list[str]
    subscription_state: str
    billing_level: str
    restorable_until: str | None


class FoundTenantResult(TenantResult):
    """A tenant as it is read: whether a freeze keeps runs about it from beginning."""

    frozen: bool


class TenantsResult(Result):
    """A page of tenants."""

    tenants: list[TenantResult]
    next_after: str | None


class BuyerResult(Result):
    """Who invoices are made out to."""

    name: str | None
    address: list[str]
    country: str
    business: bool
    vat_id: str | None


class StepResult(Result):
    """One step of a run."""

    name: str
    state: str


class RunResult(Result):
    """A run."""

    run_id: str
    tenant: str
    kind: str
    requested_by: str
    state: str
    reason: str | None
    detail: str | None
    waits_for: str | None
    created_at: str
    updated_at: str
    plan_digest: str | None
    approval_id: str | None
    attempts: int
    cancel_requested: bool
    steps: list[StepResult]
    result: dict[str, Any] | None


class RunLine(Result):
    """A run in a list; run_get tells the rest."""

    run_id: str
    tenant: str
    kind: str
    requested_by: str
    state: str
    reason: str | None
    dry_run: bool
    created_at: str
    updated_at: str
    plan_digest: str | None
    approval_id: str | None
    cancel_requested: bool


class RunsResult(Result):
    """A page of runs, the newest first."""

    runs: list[RunLine]
    next_after: str | None


class ApprovalResult(Result):
    """An approval; a human decides it on another channel."""

    approval_id: str
    run_id: str
    tenant: str
    rule: str
    state: str
    plan_digest: str
    requested_by: str
    created_at: str
    expires_at: str
    decided_at: str | None
    how: str


class ApprovalsResult(Result):
    """A page of approvals, the newest first."""

    approvals: list[ApprovalResult]
    next_after: str | None


class LeafLine(Result):
    """A leaf of the audit log; its payload is sealed."""

    leaf_id: str
    kind: str
    tenant: str | None
    recorded_at: str
    position: int | None
    commitment: str


class LeavesResult(Result):
    """A page of leaves, the newest first."""

    leaves: list[LeafLine]
    next_after: str | None
