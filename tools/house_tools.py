"""What only the house asks for, by the way of every call. Published to no agent, and on no command line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from control_plane import commands
from tools.schemas import TenantArguments, TenantResult
from tools.spec import ToolSpec


class FollowPlanArguments(TenantArguments):
    """The tenant, and the plan that its subscription is on."""

    plan: str


HOUSE_TOOLS: Mapping[str, ToolSpec] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            ToolSpec(
                name="tenant_follow_plan",
                title="Follow a plan",
                description=(
                    "Bring a tenant's stack to the plan that its subscription is on. Waits for a "
                    "human's approval where something that holds data would go."
                ),
                arguments=FollowPlanArguments,
                result=TenantResult,
                risk="write",
                domain="tenant",
                machine="lifecycle",
                to_command=lambda a: commands.FollowPlan(tenant=a.tenant, proposed_plan=a.plan),
            ),
        )
    }
)
