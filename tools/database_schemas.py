"""The typed inputs and outputs of the tools over tenants' databases. No behaviour."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from control_plane.domain.database import DatabasePurpose, DatabaseState
from control_plane.domain.isolation import Isolation
from tools.fleet_tools import ReceiptRow
from tools.schemas import After, DryRun, Handle, Key, TenantName
from tools.spec import Arguments, Result

DatabaseId = Annotated[Handle, Field(description="A database's id, as database_list tells it.")]
BackupId = Annotated[Handle, Field(description="A backup's id, as backup_list tells it.")]
KeepDays = Annotated[int, Field(ge=1, le=30, description="For how many days it is kept.")]
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]

# inputs ----------------------------------------------------------------------------------------


class ListDatabasesArguments(Arguments):
    """Which databases, and which page of them."""

    tenant: TenantName | None = None
    state: DatabaseState | None = None
    purpose: DatabasePurpose | None = None
    limit: int = Field(default=20, ge=1, le=50)
    after: After = None


class DatabaseArguments(Arguments):
    """Which database of which tenant; without an id, the one that serves it."""

    tenant: TenantName
    database: DatabaseId | None = None


class ListBackupsArguments(Arguments):
    """Whose backups, and which page of them."""

    tenant: TenantName
    verified: bool = Field(default=False, description="Only those that could be restored.")
    limit: int = Field(default=20, ge=1, le=100)
    after: After = None


class BackupArguments(Arguments):
    """The tenant whose database it is."""

    tenant: TenantName
    idempotency_key: Key
    dry_run: DryRun = False


class RestoreDatabaseArguments(Arguments):
    """What the tenant's data is to come back to: a backup, or a database that was left; one of both."""

    tenant: TenantName
    backup: BackupId | None = None
    former: DatabaseId | None = None
    keep_days: KeepDays = 7
    idempotency_key: Key
    dry_run: DryRun = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.backup is None) == (self.former is None):
            raise PydanticCustomError("must_name_either_a_backup_or_a_former", "one of both")
        return self


class CloneDatabaseArguments(Arguments):
    """Whose database is copied and what of it is masked; or, with `drop`, the copy that is to go."""

    tenant: TenantName
    mask: Annotated[tuple[GroupName, ...], Field(max_length=64)] | None = Field(
        default=None,
        description="The field groups to mask; without it, all but `general`. `general` may be "
        "masked too.",
    )
    keep_days: KeepDays = 7
    drop: DatabaseId | None = Field(
        default=None, description="Remove this copy instead of making one."
    )
    idempotency_key: Key
    dry_run: DryRun = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.drop is not None and self.mask is not None:
            raise PydanticCustomError("must_name_either_a_mask_or_a_drop", "not both")
        return self


class MigrateDatabaseArguments(Arguments):
    """Whose database comes to the migrations in force, and how far."""

    tenant: TenantName
    through: int | None = Field(
        default=None,
        ge=1,
        le=9999,
        description="The number of the last migration; else the last one that a campaign has begun.",
    )
    idempotency_key: Key
    dry_run: DryRun = False


# outputs ---------------------------------------------------------------------------------------


class DatabaseLine(Result):
    """A database as its row tells it."""

    database: str
    tenant: str
    purpose: DatabasePurpose
    isolation: Isolation
    server: str | None
    slot: int | None
    state: DatabaseState
    events: list[str]
    made_at: str | None
    changed_at: str | None
    kept_until: str | None
    run_id: str | None


class DatabasesResult(Result):
    """A page of databases."""

    databases: list[DatabaseLine]
    next_after: str | None


class VerifiedBackup(Result):
    """The backup that a restore would take."""

    backup: str
    made_at: str
    verified_at: str
    restorable_until: str


class DatabaseResult(DatabaseLine):
    """One database, and what it says of itself."""

    reachable: bool
    records: int | None
    schema_digest: str | None
    verified_backup: VerifiedBackup | None
    handover_version: int | None


class MigratedResult(Result):
    """From which migration a database has come to which, with what each has come to; 0 is none."""

    tenant: str
    database: str
    migrated_from: int
    migrated_to: int
    receipts: list[ReceiptRow]


class BackupLine(Result):
    """A backup as its row tells it."""

    backup: str
    tenant: str
    state: Literal["verified", "unproven", "removed"]
    made_at: str
    verified_at: str | None
    restorable_until: str
    removed_at: str | None
    isolation: Isolation
    kind: str
    bytes: int
    records: int
    tables: dict[str, int]
    schema_digest: str
    run_id: str


class BackupsResult(Result):
    """A page of a tenant's backups."""

    tenant: str
    backups: list[BackupLine]
    next_after: str | None
