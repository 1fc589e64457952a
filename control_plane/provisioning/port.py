"""What the control plane asks of whatever provisions a tenant's stack. Not an implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from control_plane.domain.canonical import Json
from control_plane.provisioning.drift import Drift
from control_plane.provisioning.plan_facts import PlanFacts
from control_plane.provisioning.progress import Told
from control_plane.provisioning.stacks import StackRequest

Settled: TypeAlias = Literal["present", "absent", "differs"]


class ObservedPlan(BaseModel):
    """What would happen. The digest covers the projection; the artifact is what is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    projection: Mapping[str, object]
    digest: str
    facts: PlanFacts
    artifact: bytes
    no_changes: bool


class Applied(BaseModel):
    """What the stack says of itself once a plan is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    outputs: Mapping[str, object]
    resources: tuple[str, ...]
    """The addresses of what the state holds."""


class Standing(BaseModel):
    """How a stack stands against a request, and what it holds and says of itself where it does."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    settled: Settled
    resources: tuple[str, ...] = ()
    outputs: Mapping[str, object] = Field(default_factory=dict)


class Provisioner(Protocol):
    """Plans, applies and destroys stacks. Every method may raise Unavailable."""

    def observe(
        self,
        request: StackRequest,
        *,
        destroy: bool = False,
        should_stop: Callable[[], bool] = ...,
    ) -> ObservedPlan:
        """Plan and change nothing. Raises Refused for a module, Failed when there is no plan."""
        ...

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = ...,
        tell: Told = ...,
    ) -> Applied:
        """Do exactly what the artifact says; once it is so, a repeat changes nothing.

        Raises Refused(stale_plan) when what was planned on no longer holds, Failed when nothing
        changed, Unknown when something may have.
        """
        ...

    def settle(self, request: StackRequest, *, should_stop: Callable[[], bool] = ...) -> Settled:
        """How the stack stands against the request: the probe after a crash."""
        ...

    def look(self, request: StackRequest, *, should_stop: Callable[[], bool] = ...) -> Standing:
        """The same, with what stands."""
        ...

    def drift(self, request: StackRequest, *, should_stop: Callable[[], bool] = ...) -> Drift:
        """What of the stack is no longer as it was applied. Raises NotFound, Failed."""
        ...

    def destroy(
        self, request: StackRequest, *, should_stop: Callable[[], bool] = ..., tell: Told = ...
    ) -> None:
        """Remove the stack; an absent one is fine. Raises like apply."""
        ...

    def outputs(self, request: StackRequest) -> dict[str, Json]:
        """What the stack says of itself. Raises NotFound when there is none."""
        ...
