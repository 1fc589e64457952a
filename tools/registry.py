"""Every tool that Paybill publishes. A tool that is not here does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from control_plane import commands
from tools import schemas
from tools.spec import ToolSpec

_ALL = (
    ToolSpec(
        name="whoami",
        title="Who am I",
        description="Tell principal, actor, roles and tenants of the grant that you call with.",
        arguments=schemas.NoArguments,
        result=schemas.CallerResult,
        risk="read",
        domain="workspace",
        machine="query",
        to_command=lambda _: commands.DescribeCaller(),
    ),
    ToolSpec(
        name="plan_list",
        title="List plans",
        description="List the plans on offer: tier, price, isolation models, regions, quotas.",
        arguments=schemas.NoArguments,
        result=schemas.PlansResult,
        risk="read",
        domain="workspace",
        machine="query",
        to_command=lambda _: commands.ListPlans(),
    ),
    ToolSpec(
        name="tenant_list",
        title="List tenants",
        description="List the tenants that you may read, in the order of their ids.",
        arguments=schemas.ListTenantsArguments,
        result=schemas.TenantsResult,
        risk="read",
        domain="tenant",
        machine="query",
        to_command=lambda a: commands.ListTenants(limit=a.limit, after=a.after),
    ),
    ToolSpec(
        name="tenant_get",
        title="Read a tenant",
        description="Read one tenant: state, plan, isolation, access, subscription.",
        arguments=schemas.TenantArguments,
        result=schemas.TenantResult,
        risk="read",
        domain="tenant",
        machine="query",
        to_command=lambda a: commands.GetTenant(tenant=a.tenant),
    ),
    ToolSpec(
        name="tenant_onboard",
        title="Onboard a tenant",
        description=(
            "Bring a tenant into being: subscription, infrastructure and database. Answers "
            "'running' with a run_id; follow it with run_get. A silo waits for a human's approval."
        ),
        arguments=schemas.OnboardArguments,
        result=schemas.TenantResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.OnboardTenant(
            tenant=a.tenant,
            display_name=a.display_name,
            proposed_plan=a.plan,
            proposed_isolation=a.isolation,
            proposed_region=a.region,
        ),
        next_tools=("plan_list", "tenant_get", "run_get"),
        run_kind="onboard",
    ),
    ToolSpec(
        name="run_get",
        title="Read a run",
        description="Read one run: its state, its steps, and why it ended.",
        arguments=schemas.RunArguments,
        result=schemas.RunResult,
        risk="read",
        domain="run",
        machine="query",
        to_command=lambda a: commands.GetRun(run_id=a.run_id),
    ),
    ToolSpec(
        name="run_cancel",
        title="Cancel a run",
        description="Ask a run to stop; what it has done is undone.",
        arguments=schemas.CancelArguments,
        result=schemas.RunResult,
        risk="write",
        domain="run",
        machine="change",
        to_command=lambda a: commands.CancelRun(run_id=a.run_id),
        next_tools=("run_get",),
    ),
    ToolSpec(
        name="approval_get",
        title="Read an approval",
        description="Read one approval. A human decides it on another channel; you cannot.",
        arguments=schemas.ApprovalArguments,
        result=schemas.ApprovalResult,
        risk="read",
        domain="approval",
        machine="query",
        to_command=lambda a: commands.GetApproval(approval_id=a.approval_id),
    ),
    ToolSpec(
        name="record_query",
        title="Query records",
        description="Read a page of a tenant's records in one collection, by a typed filter.",
        arguments=schemas.QueryArguments,
        result=schemas.RecordsResult,
        risk="read",
        domain="record",
        machine="query",
        to_command=lambda a: commands.QueryRecords(**a.model_dump()),
        next_tools=("tenant_get",),
    ),
    ToolSpec(
        name="record_create",
        title="Create a record",
        description="Add one record to a tenant's collection.",
        arguments=schemas.CreateArguments,
        result=schemas.RecordResult,
        risk="write",
        domain="record",
        machine="change",
        to_command=lambda a: commands.CreateRecord(
            tenant=a.tenant, collection=a.collection, values=a.values
        ),
        next_tools=("tenant_get", "record_query"),
    ),
)

TOOLS: Mapping[str, ToolSpec] = MappingProxyType({tool.name: tool for tool in _ALL})
RUN_TOOLS = MappingProxyType(
    {tool.run_kind: (tool.name, tool.facts) for tool in _ALL if tool.run_kind}
)
