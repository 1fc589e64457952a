"""What is told of a backup beside its archive: enough to find and prove it where our own rows are lost. Not the archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_plane.domain.home import ServerName
from control_plane.domain.isolation import Isolation
from control_plane.domain.tenant import TenantId

# The canonical one restores into every model and engine; the others are an engine's own form.
ArchiveKind: TypeAlias = Literal["canonical", "sqlite", "postgres"]
EngineKind: TypeAlias = Literal["sqlite", "postgresql"]
Digest: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
BackupId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Instant: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$")
]
_Word: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
_TABLES_MAX = 1_000


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class TeamSaid(_Strict):
    """Of which engine the rows of the team's own tables are, and which migrations had made those.

    `migrations` has the digest of each by its name.
    """

    engine: EngineKind
    migrations: Annotated[Mapping[str, Digest], Field(min_length=1)]


class TableCount(_Strict):
    """One table: its rows, and the sum of their digests, whatever their order."""

    rows: Annotated[int, Field(ge=0)]
    checksum: Digest


class BackupFacts(_Strict):
    """What is known of a backup before its archive is written.

    Instants are RFC 3339 in UTC. `catalog_digest` is of the catalog that was in force;
    `restorable_until` is how long it is to be kept. `team` is of the team's own tables, and is not
    told where there are none.
    """

    tenant: TenantId
    backup_id: BackupId
    made_at: Instant
    kind: ArchiveKind
    isolation: Isolation
    server: ServerName
    engine: EngineKind
    schema_digest: Digest
    catalog_digest: Digest
    restorable_until: Instant
    team: TeamSaid | None = None


class Manifest(BackupFacts):
    """The same once it is written. `archive_digest` is SHA-256 of the file, `archive_bytes` its size."""

    format: Literal[2] = 2
    workspace: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    tables: Annotated[Mapping[_Word, TableCount], Field(max_length=_TABLES_MAX)]
    archive_digest: Digest
    archive_bytes: Annotated[int, Field(ge=0)]
    key_id: BackupId
    key_version: Annotated[int, Field(ge=1)]
