"""The typed inputs and outputs of the tools of infrastructure. No behaviour."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from control_plane.domain.effect import EffectState
from control_plane.domain.isolation import Cloud, Isolation, Size
from control_plane.domain.run import RunState
from control_plane.domain.stack_record import StackState
from tools.schemas import After, DryRun, Handle, Key, RunArguments, TenantName
from tools.spec import Arguments, Result

# inputs ----------------------------------------------------------------------------------------


class ListInfrastructureArguments(Arguments):
    """Which stacks, and which page of them."""

    tenant: TenantName | None = None
    cloud: Cloud | None = None
    state: StackState | None = None
    limit: int = Field(default=20, ge=1, le=50)
    after: After = None


class RunLogArguments(RunArguments):
    """Which run, and from where on."""

    after: int = Field(
        default=0, ge=0, le=1_000_000, description="The next_after of the page before."
    )
    limit: int = Field(default=100, ge=1, le=100)


class EstimateCostArguments(Arguments):
    """Either a run, whose plan it is about, or a tenant, whose stack it is about."""

    run_id: Handle | None = None
    tenant: TenantName | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.run_id is None) == (self.tenant is None):
            raise PydanticCustomError("must_name_either_a_run_id_or_a_tenant", "one of both")
        return self


class DriftArguments(Arguments):
    """The tenant whose stack it is."""

    tenant: TenantName
    idempotency_key: Key
    dry_run: DryRun = False


# outputs ---------------------------------------------------------------------------------------


class DriftedResource(Result):
    """One resource: what a plan would do to it, and the names of the attributes that differ."""

    address: str
    actions: list[str]
    attributes: list[str]


class StackLine(Result):
    """A stack as the last run left it and the last look found it."""

    tenant: str
    cloud: Cloud
    isolation: Isolation
    region: str
    plan: str
    size: Size
    state: StackState
    resources: list[str]
    resource_count: int
    monthly_cost_minor: int | None
    currency: str | None
    price_table: str | None
    applied_at: str
    run_id: str
    plan_digest: str | None
    checked_at: str | None
    drift: list[DriftedResource]
    drift_count: int
    outputs: dict[str, Any] | None


class InfrastructureResult(Result):
    """A page of stacks."""

    stacks: list[StackLine]
    next_after: str | None


class StackOffer(Result):
    """A stack that may be had."""

    cloud: Cloud
    isolation: Isolation
    source: Literal["shipped", "own"]
    module_digest: str
    plans: list[str]
    proof: Literal["applied", "emulator-applied", "contract-checked", "none"]


class StacksResult(Result):
    """Every stack that may be had."""

    stacks: list[StackOffer]


class RunPlanResult(Result):
    """A run's plan."""

    run_id: str
    tenant: str
    kind: str
    plan_digest: str | None
    parts: dict[str, Any] | None
    parts_left_out: bool
    text: str | None
    lines_left_out: int


class StepLine(Result):
    """A step that has begun."""

    name: str
    state: EffectState
    begun_at: str | None
    ended_at: str | None


class RunEvent(Result):
    """One resource at one moment."""

    position: int
    at: str
    address: str
    doing: str
    stage: str
    elapsed_s: int


class RunLogResult(Result):
    """A run's steps, and a page of what it told."""

    run_id: str
    state: RunState
    steps: list[StepLine]
    events: list[RunEvent]
    next_after: int
    over: bool


class CostResult(Result):
    """What a stack costs a month."""

    basis: Literal["plan", "stack"]
    tenant: str
    run_id: str
    monthly_cost_minor: int | None
    currency: str
    price_table: str | None
    unpriced: list[str]


class DriftResult(Result):
    """What a look has found."""

    tenant: str
    cloud: Cloud
    isolation: Isolation
    drifted: bool
    resources: list[DriftedResource]
    checked_at: str


class RepairedResult(Result):
    """A stack after its repair."""

    tenant: str
    cloud: Cloud
    isolation: Isolation
    region: str
    state: StackState
    resources: list[str]
    resource_count: int
    plan_digest: str | None
