"""The typed inputs and outputs of the tools by which services are handed their database. No behaviour."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from control_plane.domain.handover import Access
from tools.schemas import DryRun, Key, TenantName
from tools.spec import Arguments, Result

WAIT_S_MAX: Final = 30
VERSION_MAX: Final = 1_000_000_000

# inputs ----------------------------------------------------------------------------------------


class RotateCredentialsArguments(Arguments):
    """The tenant whose services get another credential."""

    tenant: TenantName
    idempotency_key: Key
    dry_run: DryRun = False


class ConnectionArguments(Arguments):
    """Whose connection; over HTTP, how long to wait for a later version than the one at hand."""

    tenant: TenantName
    after: int = Field(default=0, ge=0, le=VERSION_MAX, description="The version that you have.")
    wait_s: int = Field(
        default=0, ge=0, le=WAIT_S_MAX, description="How long to wait for a later one, over HTTP."
    )


class AcknowledgeArguments(Arguments):
    """Which version the tenant's services follow."""

    tenant: TenantName
    version: int = Field(
        ge=1, le=VERSION_MAX, description="Nothing of yours uses an earlier one any more."
    )
    idempotency_key: Key
    dry_run: DryRun = False


# outputs ---------------------------------------------------------------------------------------


class RotatedResult(Result):
    """What the services were told last, and how far they have followed."""

    tenant: str
    version: int
    acknowledged_version: int


class ConnectionResult(Result):
    """Where the database is. What is not there, or is a file's, is null."""

    tenant: str
    version: int
    access: Access
    acknowledged_version: int
    changed_at: str
    server: str | None
    engine: Literal["sqlite", "postgres"] | None
    host: str | None
    port: int | None
    database: str | None = Field(description="Its name; on SQLite the path of its file.")
    user: str | None
    schema_name: str | None = Field(description="The schema in which the tables are.")
    secret: str | None = Field(description="The reference under which the password lies.")


class AcknowledgedResult(Result):
    """How far the services have followed."""

    tenant: str
    version: int
    acknowledged_version: int
    changed: bool
