"""The commands about tenants' stacks and what runs do to them. Not the tools' schemas, and no deeds."""

from __future__ import annotations

from typing import ClassVar

from control_plane.commands import Command
from control_plane.domain.canonical import Json


class ListInfrastructure(Command):
    """List the stacks that are known, in the order of their tenants. An empty field restricts nothing."""

    name: ClassVar[str] = "list_infrastructure"
    tenant: str = ""
    cloud: str = ""
    state: str = ""
    limit: int = 50
    after: str | None = None

    def filter(self) -> dict[str, Json]:
        """What the listing is restricted to: a cursor is good for no other."""
        return self.model_dump(mode="json", exclude={"limit", "after"})


class ListStacks(Command):
    """List the stacks that may be had, by cloud and isolation model."""

    name: ClassVar[str] = "list_stacks"


class GetRunPlan(Command):
    """Read what a run would do, or has done: its plan, structured and as text."""

    name: ClassVar[str] = "get_run_plan"
    run_id: str


class GetRunLog(Command):
    """Read a run's steps, and what it told of its resources behind position ``after``."""

    name: ClassVar[str] = "get_run_log"
    run_id: str
    after: int = 0
    limit: int = 100


class EstimateCost(Command):
    """Tell what a run's plan or a tenant's stack costs a month; exactly one of both is named."""

    name: ClassVar[str] = "estimate_cost"
    run_id: str = ""
    tenant: str = ""


class CheckDrift(Command):
    """Look whether a tenant's stack is still as it was applied."""

    name: ClassVar[str] = "check_drift"
    tenant: str


class RepairDrift(Command):
    """Bring a tenant's stack back to what was applied."""

    name: ClassVar[str] = "repair_drift"
    tenant: str
