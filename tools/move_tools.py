"""The tools that move a tenant to another database. Not the moving."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from control_plane import move_commands as commands
from control_plane.domain.home import SERVER_NAME
from tools.schemas import DryRun, Handle, Instant, Key, TenantName, TenantResult
from tools.spec import Arguments, ToolSpec
from tools.subscription_tools import Slug


class MoveArguments(Arguments):
    """The tenant, and where it is to go. Whether its plan lets it stand there policy decides."""

    tenant: TenantName
    isolation: Literal["silo", "bridge", "pooled"] = Field(
        description="The model that it is to stand in; the one it has, where only the server changes."
    )
    server: str = Field(
        default="main",
        pattern=SERVER_NAME,
        description="The server of its database; main is the workspace's own, and stack_<tenant> the "
        "one that its own silo stack makes.",
    )
    max_freeze_s: int = Field(
        default=30,
        ge=1,
        le=600,
        description="For how many seconds at most nobody may write; past it the move is undone.",
    )
    keep_days: int = Field(
        default=7,
        ge=1,
        le=90,
        description="For how many days what it leaves is kept, closed, as the way back.",
    )
    plan: Slug | None = Field(
        default=None,
        description="Another plan that it comes with: paid for before anything is made. Preview it "
        "with subscription_preview_change.",
    )
    proration_at: Instant | None = Field(
        default=None,
        description="As that preview answered it, at most an hour ago; else as of the call.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class FinaliseArguments(Arguments):
    """The tenant, and the database that it has left."""

    tenant: TenantName
    database: Handle = Field(description="The former database's id, as database_list tells it.")
    idempotency_key: Key
    dry_run: DryRun = False


def _to_move(asked: MoveArguments) -> commands.MoveTenant:
    return commands.MoveTenant(
        tenant=asked.tenant,
        proposed_isolation=asked.isolation,
        proposed_server=asked.server,
        max_freeze_s=asked.max_freeze_s,
        keep_days=asked.keep_days,
        change=_change_of(asked),
    )


def _change_of(asked: MoveArguments) -> commands.MovedSubscription | None:
    if asked.plan is None:
        return None
    at = None if asked.proration_at is None else datetime.fromisoformat(asked.proration_at)
    return commands.MovedSubscription(
        tenant=asked.tenant,
        plan=asked.plan,
        proration_at=at,
        proposed_isolation=asked.isolation,
    )


MOVE_TOOLS = (
    ToolSpec(
        name="tenant_move",
        title="Move a tenant",
        description=(
            "Move a tenant that is in service to another isolation model or server. Its calls and "
            "its own services go on; at the end nobody writes for at most max_freeze_s seconds. "
            "Until it is cut over it stays where it is, whatever happens. Always waits for a "
            "human's approval of rows, stack and limits in one plan. Answers 'running' with a "
            "run_id; run_log tells how far the copy is."
        ),
        arguments=MoveArguments,
        result=TenantResult,
        risk="destructive",
        domain="tenant",
        machine="lifecycle",
        to_command=_to_move,
        next_tools=("tenant_get", "run_get", "run_log", "tenant_move_finalise"),
    ),
    ToolSpec(
        name="tenant_move_finalise",
        title="Finalise a move",
        description=(
            "Remove the database that a tenant has left by a move, and the stack that nothing of "
            "it stands on any more: there is no way back then. The house asks for it once its time "
            "is over; before that it waits for a human's approval."
        ),
        arguments=FinaliseArguments,
        result=TenantResult,
        risk="destructive",
        domain="tenant",
        machine="lifecycle",
        to_command=lambda a: commands.FinaliseMove(tenant=a.tenant, database=a.database),
        next_tools=("tenant_get", "run_get"),
    ),
)
