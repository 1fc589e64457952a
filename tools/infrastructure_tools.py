"""The tools of infrastructure: what stands, what may be had, what runs do to it. Not what they do."""

from __future__ import annotations

from control_plane import infrastructure_commands as commands
from tools import infrastructure_schemas as schemas
from tools.schemas import NoArguments, RunArguments
from tools.spec import ToolSpec

INFRASTRUCTURE_TOOLS = (
    ToolSpec(
        name="infrastructure_list",
        title="List infrastructure",
        description="List the stacks of the tenants that you may read, in the order of their ids: "
        "where each stands, what it holds and costs, and whether it had drifted when last looked "
        "at. No cloud is asked; drift_check does.",
        arguments=schemas.ListInfrastructureArguments,
        result=schemas.InfrastructureResult,
        risk="read",
        domain="tenant",
        machine="query",
        to_command=lambda a: commands.ListInfrastructure(
            tenant=a.tenant or "",
            cloud=a.cloud or "",
            state=a.state or "",
            limit=a.limit,
            after=a.after,
        ),
    ),
    ToolSpec(
        name="stack_list",
        title="List stacks",
        description="List the stacks that may be had, by cloud and isolation model: which plans "
        "offer each, the digest of its module, and how far it is proven.",
        arguments=NoArguments,
        result=schemas.StacksResult,
        risk="read",
        domain="workspace",
        machine="query",
        to_command=lambda _: commands.ListStacks(),
    ),
    ToolSpec(
        name="run_plan",
        title="Read a run's plan",
        description="Read what a run would do or has done: its plan by parts, and as text with "
        "what cannot be undone first. Null while it is not planned.",
        arguments=RunArguments,
        result=schemas.RunPlanResult,
        risk="read",
        domain="run",
        machine="query",
        to_command=lambda a: commands.GetRunPlan(run_id=a.run_id),
    ),
    ToolSpec(
        name="run_log",
        title="Follow a run",
        description="Read a run's steps, and how far each resource is while it is at work. Ask "
        "again with next_after until over is true.",
        arguments=schemas.RunLogArguments,
        result=schemas.RunLogResult,
        risk="read",
        domain="run",
        machine="query",
        to_command=lambda a: commands.GetRunLog(run_id=a.run_id, after=a.after, limit=a.limit),
    ),
    ToolSpec(
        name="cost_estimate",
        title="Estimate costs",
        description="Tell what a run's plan or a tenant's stack would cost a month, by a table of "
        "prices; name one of both. What has no price is named, and is not in the sum.",
        arguments=schemas.EstimateCostArguments,
        result=schemas.CostResult,
        risk="read",
        domain="run",
        machine="query",
        to_command=lambda a: commands.EstimateCost(run_id=a.run_id or "", tenant=a.tenant or ""),
    ),
    ToolSpec(
        name="drift_check",
        title="Look for drift",
        description="Look whether a tenant's stack is still as it was applied. It changes nothing "
        "there. Answers 'running' with a run_id; then infrastructure_list tells what was found.",
        arguments=schemas.DriftArguments,
        result=schemas.DriftResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.CheckDrift(tenant=a.tenant),
        next_tools=("infrastructure_list", "run_get"),
    ),
    ToolSpec(
        name="drift_repair",
        title="Repair drift",
        description="Bring a tenant's stack back to what was applied. What somebody changed by "
        "hand is lost, and cannot be brought back. Waits for a human's approval where what holds "
        "data would go. Answers 'running' with a run_id; run_plan tells what it would do.",
        arguments=schemas.DriftArguments,
        result=schemas.RepairedResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.RepairDrift(tenant=a.tenant),
        next_tools=("infrastructure_list", "drift_check", "run_get"),
    ),
)
