"""The tools that change all tenants' databases by the team's migrations. Not what they do."""

from __future__ import annotations

from pydantic import Field

from control_plane import fleet_commands as commands
from tools.schemas import DryRun, Handle, Key, TenantName
from tools.spec import Arguments, Result, ToolSpec


class StartArguments(Arguments):
    """How far, and how many databases may fail before it halts."""

    through: int | None = Field(
        default=None,
        ge=1,
        le=9999,
        description="The number of the last migration; else as far as may be gone now.",
    )
    failures_max: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How many databases may fail before it halts; the canary may not.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


class StatusArguments(Arguments):
    """Which campaign, and whose database is to be looked at."""

    campaign: Handle | None = Field(default=None, description="A campaign's id; else the newest.")
    tenant: TenantName | None = Field(
        default=None, description="Look whether this tenant's tables are as its receipts say."
    )


class OrderArguments(Arguments):
    """Nothing more than a key: there is at most one campaign that is not over."""

    idempotency_key: Key
    dry_run: DryRun = False


class FailureRow(Result):
    """A database that failed: which migration, with which code, at which statement."""

    tenant: str
    migration: str
    code: str
    detail: str | None
    attempts: int


class ReceiptRow(Result):
    """What one migration has come to in one database; digests are of what stood before and behind it."""

    number: int
    migration: str
    state: str
    before: str | None
    after: str | None
    attempts: int
    code: str | None
    changed_at: str


class FleetTenant(Result):
    """One tenant's database: its receipts, what stands, and whether the two agree."""

    tenant: str
    place: str
    receipts: list[ReceiptRow]
    shape: str
    drifted: bool


class CampaignResult(Result):
    """How far a campaign is, over how many databases, and where it failed."""

    campaign: str
    state: str
    asked: str | None
    reason: str | None
    first: int
    last: int
    run_id: str
    databases: int
    done: int
    failed: int
    failures: list[FailureRow]
    created_at: str
    changed_at: str


class CampaignStatus(CampaignResult):
    """The same, with one tenant's database where one was named."""

    tenant: FleetTenant | None


FLEET_TOOLS = (
    ToolSpec(
        name="fleet_migration_start",
        title="Migrate all tenants",
        description="Bring every tenant's database to the team's migrations: one tenant first, "
        "then 5 %, then the rest. Takes up a campaign that rests. Always waits for a human's "
        "approval. Answers 'running' with a run_id; fleet_migration_status tells how far it is.",
        arguments=StartArguments,
        result=CampaignResult,
        risk="destructive",
        domain="fleet",
        machine="lifecycle",
        to_command=lambda a: commands.StartFleetMigration(
            through=a.through or 0, failures_max=a.failures_max
        ),
        next_tools=("fleet_migration_status", "run_get"),
    ),
    ToolSpec(
        name="fleet_migration_status",
        title="Follow a campaign",
        description="Tell how far a campaign is and where it failed. With a tenant, look whether "
        "that tenant's tables are still as its receipts say.",
        arguments=StatusArguments,
        result=CampaignStatus,
        risk="read",
        domain="fleet",
        machine="query",
        to_command=lambda a: commands.GetFleetMigration(
            campaign=a.campaign or "", tenant=a.tenant or ""
        ),
    ),
    ToolSpec(
        name="fleet_migration_pause",
        title="Pause a campaign",
        description="Let the campaign rest behind the tenants that it has in hand. "
        "fleet_migration_start takes it up again.",
        arguments=OrderArguments,
        result=CampaignResult,
        risk="write",
        domain="fleet",
        machine="change",
        to_command=lambda _: commands.PauseFleetMigration(),
        next_tools=("fleet_migration_status",),
    ),
    ToolSpec(
        name="fleet_migration_abort",
        title="Abort a campaign",
        description="End the campaign where it is. Who has been changed stays so; a later "
        "campaign finds them done.",
        arguments=OrderArguments,
        result=CampaignResult,
        risk="write",
        domain="fleet",
        machine="change",
        to_command=lambda _: commands.AbortFleetMigration(),
        next_tools=("fleet_migration_status",),
    ),
)
