"""The tools over tenants' databases: what stands, what is backed up, brought back and copied. Not what they do."""

from __future__ import annotations

from control_plane import database_commands as commands
from tools import database_schemas as schemas
from tools.spec import ToolSpec


def _clone(asked: schemas.CloneDatabaseArguments) -> commands.CloneDatabase | commands.DropClone:
    if asked.drop is not None:
        return commands.DropClone(tenant=asked.tenant, database=asked.drop)
    return commands.CloneDatabase(tenant=asked.tenant, mask=asked.mask, keep_days=asked.keep_days)


DATABASE_TOOLS = (
    ToolSpec(
        name="database_list",
        title="List databases",
        description="List the databases of the tenants that you may read, in the order of their "
        "ids, the one that serves first: what each is for, where it stands, and its state.",
        arguments=schemas.ListDatabasesArguments,
        result=schemas.DatabasesResult,
        risk="read",
        domain="database",
        machine="query",
        to_command=lambda a: commands.ListDatabases(
            tenant=a.tenant or "",
            state=a.state or "",
            purpose=a.purpose or "",
            limit=a.limit,
            after=a.after,
        ),
    ),
    ToolSpec(
        name="database_get",
        title="Read a database",
        description="Read one database of a tenant, without an id the one that serves it: how it "
        "stands, what may be done with it, its records, and the backup it could be restored from.",
        arguments=schemas.DatabaseArguments,
        result=schemas.DatabaseResult,
        risk="read",
        domain="database",
        machine="query",
        to_command=lambda a: commands.GetDatabase(tenant=a.tenant, database=a.database or ""),
    ),
    ToolSpec(
        name="database_backup",
        title="Back a database up",
        description="Back up the database that serves a tenant, while its calls go on. It counts as "
        "a backup once it was restored on trial and came to the same. Answers 'running' with a "
        "run_id; then backup_list tells it.",
        arguments=schemas.BackupArguments,
        result=schemas.BackupLine,
        risk="write",
        domain="database",
        machine="lifecycle",
        to_command=lambda a: commands.BackUpDatabase(tenant=a.tenant),
        next_tools=("database_get", "backup_list", "run_get"),
    ),
    ToolSpec(
        name="database_restore",
        title="Restore a database",
        description="Bring a tenant's data back to what a backup holds: made anew beside what "
        "stands, held against the backup, then put in its place. What was written since is lost "
        "to the tenant; what it stood in is kept for a while, and 'former' goes back to it. Always "
        "waits for a human's approval. Answers 'running' with a run_id.",
        arguments=schemas.RestoreDatabaseArguments,
        result=schemas.DatabaseLine,
        risk="destructive",
        domain="database",
        machine="lifecycle",
        to_command=lambda a: commands.RestoreDatabase(
            tenant=a.tenant, backup=a.backup or "", former=a.former or "", keep_days=a.keep_days
        ),
        next_tools=("backup_list", "database_list", "run_get"),
    ),
    ToolSpec(
        name="database_clone",
        title="Clone a database",
        description="Make a copy of the database that serves a tenant, beside it and for a while, "
        "with fields of the groups that you name masked; or remove a copy, with 'drop'. No call of "
        "the tenant's is served by it. To leave a group unmasked waits for a human's approval. "
        "Answers 'running' with a run_id.",
        arguments=schemas.CloneDatabaseArguments,
        result=schemas.DatabaseLine,
        risk="write",
        domain="database",
        machine="lifecycle",
        to_command=_clone,
        next_tools=("database_list", "database_get", "run_get"),
    ),
    ToolSpec(
        name="database_migrate",
        title="Migrate a database",
        description="Bring the database that serves a tenant to the team's migrations that a "
        "campaign has begun, and no further: one that failed, was left behind, or was put right. "
        "What is applied stays; tenants that share its tables get it too. Always waits for a "
        "human's approval. Answers 'running' with a run_id.",
        arguments=schemas.MigrateDatabaseArguments,
        result=schemas.MigratedResult,
        risk="destructive",
        domain="database",
        machine="lifecycle",
        to_command=lambda a: commands.MigrateDatabase(tenant=a.tenant, through=a.through or 0),
        next_tools=("fleet_migration_status", "database_get", "run_get"),
    ),
    ToolSpec(
        name="backup_list",
        title="List backups",
        description="List a tenant's backups, the newest first, and until when each can be "
        "restored. Of one that was removed only this is left. Go on while next_after is given.",
        arguments=schemas.ListBackupsArguments,
        result=schemas.BackupsResult,
        risk="read",
        domain="database",
        machine="query",
        to_command=lambda a: commands.ListBackups(
            tenant=a.tenant, verified=a.verified, limit=a.limit, after=a.after
        ),
    ),
)
