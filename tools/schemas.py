"""The typed inputs and outputs of the tools. No behaviour."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

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
Collection = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]


class NoArguments(Arguments):
    """Nothing to say."""


class ListTenantsArguments(Arguments):
    """Which page."""

    limit: int = Field(default=50, ge=1, le=100)
    after: TenantName | None = None


class TenantArguments(Arguments):
    """Which tenant."""

    tenant: TenantName


class OnboardArguments(Arguments):
    """The tenant that is to be. Plan, isolation and region are proposals; policy decides."""

    tenant: TenantName
    display_name: str = Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")
    plan: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    isolation: Literal["silo", "pooled"]
    region: str = Field(default="local", pattern=r"^[a-z][a-z0-9-]{0,39}$")
    idempotency_key: Key
    dry_run: DryRun = False


class RunArguments(Arguments):
    """Which run."""

    run_id: Handle


class CancelArguments(Arguments):
    """Which run to stop."""

    run_id: Handle
    idempotency_key: Key
    dry_run: DryRun = False


class ApprovalArguments(Arguments):
    """Which approval."""

    approval_id: Handle


class QueryArguments(Arguments):
    """Which records: a typed filter tree, a sort, a page."""

    tenant: TenantName
    collection: Collection
    filter: dict[str, Any] | None = Field(
        default=None,
        description='{"op":"and|or|not","args":[…]} or '
        '{"op":"eq|ne|lt|le|gt|ge|in|is_null","field":…,"value":…}',
    )
    sort: str | None = Field(
        default=None,
        pattern=r"^-?[a-z][a-z0-9_]{0,47}$",
        description="A field; a leading minus sorts downwards.",
    )
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=8192)


class CreateArguments(Arguments):
    """The record that is to be."""

    tenant: TenantName
    collection: Collection
    values: dict[str, Any] = Field(max_length=64)
    idempotency_key: Key
    dry_run: DryRun = False


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
    region: str
    access_mode: str
    subscription_state: str


class TenantsResult(Result):
    """A page of tenants."""

    tenants: list[TenantResult]
    next_after: str | None


class StepResult(Result):
    """One step of a run."""

    name: str
    state: str


class RunResult(Result):
    """A run."""

    run_id: str
    tenant: str
    kind: str
    state: str
    reason: str | None
    detail: str | None
    created_at: str
    updated_at: str
    plan_digest: str | None
    approval_id: str | None
    attempts: int
    cancel_requested: bool
    steps: list[StepResult]
    result: dict[str, Any] | None


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


class RecordsResult(Result):
    """A page of records; fields that you may not read are absent."""

    records: list[dict[str, Any]]
    next_cursor: str | None


class RecordResult(Result):
    """One record."""

    record: dict[str, Any]
