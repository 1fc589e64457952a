"""Every tool that Paybill publishes. A tool that is not here does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from control_plane import commands
from control_plane.domain.run import RUN_ACTIVE
from tools import schemas
from tools.agreements import agreement_of
from tools.database_tools import DATABASE_TOOLS
from tools.fleet_tools import FLEET_TOOLS
from tools.handover_tools import HANDOVER_TOOLS
from tools.infrastructure_tools import INFRASTRUCTURE_TOOLS
from tools.invoice_tools import INVOICE_TOOLS
from tools.move_tools import MOVE_TOOLS
from tools.onboarded import OnboardedResult
from tools.payment_tools import PAYMENT_TOOLS
from tools.record_tools import DESCRIBE, RECORD_TOOLS, UNDO
from tools.seat_tools import SEAT_TOOLS
from tools.spec import ToolSpec
from tools.subscription_result import SubscriptionResult
from tools.subscription_tools import SUBSCRIPTION_TOOLS
from tools.usage_tools import USAGE_TOOLS

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
        result=schemas.FoundTenantResult,
        risk="read",
        domain="tenant",
        machine="query",
        to_command=lambda a: commands.GetTenant(tenant=a.tenant),
    ),
    ToolSpec(
        name="subscription_get",
        title="Read a subscription",
        description="Read a tenant's subscription: plan, state, whether it entitles, and quotas.",
        arguments=schemas.TenantArguments,
        result=SubscriptionResult,
        risk="read",
        domain="subscription",
        machine="query",
        to_command=lambda a: commands.GetSubscription(tenant=a.tenant),
    ),
    ToolSpec(
        name="tenant_onboard",
        title="Onboard a tenant",
        description=(
            "Bring a tenant into being: subscription, infrastructure and database. Answers "
            "'running' with a run_id; follow it with run_get. A silo waits for a human's approval. "
            "Where the customer has to act for the first payment, payment_action says where."
        ),
        arguments=schemas.OnboardArguments,
        result=OnboardedResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.OnboardTenant(
            tenant=a.tenant,
            display_name=a.display_name,
            proposed_plan=a.plan,
            proposed_isolation=a.isolation,
            proposed_cloud=a.cloud,
            proposed_region=a.region,
            agreement=agreement_of(a.subscription),
        ),
        next_tools=("plan_list", "tenant_get", "run_get"),
    ),
    ToolSpec(
        name="tenant_suspend",
        title="Suspend a tenant",
        description=(
            "Shut a tenant for a reason: changes are refused, and with access 'none' reads too; "
            "its data stays. A tenant that is suspended gets a further reason. Answers 'running' "
            "with a run_id; follow it with run_get."
        ),
        arguments=schemas.SuspendArguments,
        result=schemas.TenantResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.SuspendTenant(
            tenant=a.tenant, proposed_reason=a.reason, proposed_access=a.access
        ),
        next_tools=("tenant_get", "run_get", "tenant_resume"),
    ),
    ToolSpec(
        name="tenant_resume",
        title="Resume a tenant",
        description=(
            "Clear one reason of a suspension. While others stand the tenant stays suspended; "
            "with the last one gone it is probed and opened. Answers 'running' with a run_id."
        ),
        arguments=schemas.ResumeArguments,
        result=schemas.TenantResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.ResumeTenant(tenant=a.tenant, proposed_reason=a.reason),
        next_tools=("tenant_get", "run_get", "tenant_suspend"),
    ),
    ToolSpec(
        name="tenant_offboard",
        title="Offboard a tenant",
        description=(
            "Take a tenant away: its data is backed up, the backup is restored on trial, then "
            "database and infrastructure are destroyed. Always waits for a human's approval. "
            "Refused while the tenant is protected, held, or its subscription goes on. Answers "
            "'running' with a run_id. What failed half-way is gone on with by the same tool."
        ),
        arguments=schemas.OffboardArguments,
        result=schemas.TenantResult,
        risk="destructive",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.OffboardTenant(
            tenant=a.tenant, proposed_cancel=a.cancel_subscription
        ),
        next_tools=("tenant_get", "run_get", "tenant_suspend", "tenant_move_finalise"),
    ),
    ToolSpec(
        name="tenant_restore",
        title="Restore a tenant",
        description=(
            "Bring an offboarded tenant back out of its backup, as long as that is kept. A silo, "
            "or a tenant that was shut for a cause, waits for a human's approval. Answers "
            "'running' with a run_id; follow it with run_get."
        ),
        arguments=schemas.RestoreArguments,
        result=schemas.TenantResult,
        risk="write",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.RestoreTenant(tenant=a.tenant),
        next_tools=("tenant_get", "run_get"),
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
        name="run_list",
        title="List runs",
        description="List the runs that you may read, the newest first. A page may be short; "
        "go on while next_after is given.",
        arguments=schemas.ListRunsArguments,
        result=schemas.RunsResult,
        risk="read",
        domain="run",
        machine="query",
        to_command=lambda a: commands.ListRuns(
            tenant=a.tenant or "",
            states=tuple(sorted(RUN_ACTIVE if a.state == "active" else a.state or ())),
            kind=a.kind or "",
            limit=a.limit,
            after=a.after,
        ),
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
        name="approval_list",
        title="List approvals",
        description="List the approvals that you may read, the newest first. A page may be "
        "short; go on while next_after is given.",
        arguments=schemas.ListApprovalsArguments,
        result=schemas.ApprovalsResult,
        risk="read",
        domain="approval",
        machine="query",
        to_command=lambda a: commands.ListApprovals(
            tenant=a.tenant or "",
            states=tuple(sorted(a.state or ())),
            limit=a.limit,
            after=a.after,
        ),
    ),
    ToolSpec(
        name="audit_search",
        title="Search the audit log",
        description="List leaves of the audit log, the newest first: what was recorded when, "
        "about which tenant. What a leaf says in full is sealed. A search is recorded itself.",
        arguments=schemas.SearchAuditArguments,
        result=schemas.LeavesResult,
        risk="read",
        domain="audit",
        machine="query",
        to_command=lambda a: commands.SearchAudit(
            tenant=a.tenant or "",
            kind=a.kind or "",
            since=a.since or "",
            until=a.until or "",
            limit=a.limit,
            after=a.after,
        ),
    ),
    DESCRIBE,
    *RECORD_TOOLS,
    UNDO,
    *SEAT_TOOLS,
    *USAGE_TOOLS,
    *SUBSCRIPTION_TOOLS,
    *PAYMENT_TOOLS,
    *INVOICE_TOOLS,
    *INFRASTRUCTURE_TOOLS,
    *DATABASE_TOOLS,
    *HANDOVER_TOOLS,
    *MOVE_TOOLS,
    *FLEET_TOOLS,
)

TOOLS: Mapping[str, ToolSpec] = MappingProxyType({tool.name: tool for tool in _ALL})
