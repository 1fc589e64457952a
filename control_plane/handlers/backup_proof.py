"""A backup made of a tenant's database, and proved by a restore on trial. Not the run that asks for it, nor its row.

Whoever makes one: `taken`, then `backups.keep`, then `prove`, then `backups.mark_verified`. An archive
counts as a backup only from there on.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from sqlalchemy import Connection

from control_plane.data import archive
from control_plane.data.collection import Collection
from control_plane.data.tables import schema_digest
from control_plane.data.team_archive import said_of
from control_plane.databases import sqlite_copy
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.backup_manifest import ArchiveKind, BackupFacts, TeamSaid
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.home import Home
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, Refused
from control_plane.handlers.handler import Work
from control_plane.ports import Archives

# On which engine each form of an engine's own is made.
_ENGINES: Final[Mapping[str, str]] = {"sqlite": "sqlite", "postgres": "postgresql"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a backup is to be: its id, where the database stands, until when it is kept, in which form."""

    backup_id: str
    home: Home
    until: str
    kind: ArchiveKind = "canonical"


def archives_of(work: Work) -> Archives:
    """The archives; only the worker has them."""
    if work.ports.archives is None:
        raise Failed("Only the worker keeps archives.", code="not_the_worker")
    return work.ports.archives


def taken(
    work: Work, source: Connection, collections: Sequence[Collection], wanted: Wanted
) -> Backup:
    """Archive what `source` sees of the run's tenant; it must read one snapshot throughout.

    Gives the row, which is yet to be kept. Raises Refused (`archive_kind`) where the database has
    no such form of its own, and as `Archives.put` does.
    """
    engine, said = source.dialect.name, said_of(team_shape(source))
    if wanted.kind == "postgres" and said is not None:
        # How its own tables are read back, only Postgres could tell.
        raise Refused("A team's own tables are in no dump.", code="archive_kind")
    own = _ENGINES.get(wanted.kind)
    if own is not None and (engine != own or wanted.home.isolation == "pooled"):
        raise Refused("The database has no form of its own of that kind.", code="archive_kind")
    made_at = instant(work.ports.clock.now())
    summaries: list[archive.Summary] = []

    def write(target: IO[bytes]) -> Mapping[str, Json]:
        summaries.append(_written(work, source, collections, wanted.kind, target))
        return _tables(summaries[-1])

    manifest = archives_of(work).put(
        BackupFacts.model_validate(
            {
                "tenant": work.run.tenant,
                "backup_id": wanted.backup_id,
                "made_at": made_at,
                "kind": wanted.kind,
                "isolation": wanted.home.isolation,
                "server": wanted.home.server,
                "engine": engine,
                "schema_digest": schema_digest(collections),
                "catalog_digest": work.ports.catalog.digest,
                "restorable_until": wanted.until,
                "team": None if said is None else said.model_dump(),
            }
        ),
        write,
    )
    return Backup(
        id=wanted.backup_id,
        tenant=work.run.tenant,
        run_id=work.run.id,
        isolation=wanted.home.isolation,
        made_at=made_at,
        digest=manifest.archive_digest,
        bytes=manifest.archive_bytes,
        contents=cast("dict[str, Json]", plain(summaries[-1])),
        schema_digest=manifest.schema_digest,
        keep_until=wanted.until,
        kind=wanted.kind,
        key_version=manifest.key_version,
    )


def prove(
    work: Work,
    backup: Backup,
    engine: DatabaseEngine,
    collections: Sequence[Collection],
    standing: Connection | None = None,
) -> None:
    """Restore the archive into a scratch place; it must come to its manifest, and to what stands.

    `collections` are those of its day, and `engine` is where the scratch place is made; `standing`
    sees the tenant's database, where that must be the same still. Raises Failed (`backup_differs`),
    and Refused as `Archives.open` does.
    """
    tenant, model = backup.tenant, cast("Isolation", backup.isolation)
    with (
        lines_of(work, backup, collections) as source,
        engine.scratch(tenant, model, collections) as trial,
    ):
        lead_scratch(work, trial, team_of(backup))
        archive.load_tenant(trial, collections, tenant, source)
        restored = plain(archive.summary(trial, collections, tenant))
    stands = restored
    if standing is not None:
        stands = plain(archive.summary(standing, collections, tenant))
    if not restored == stands == contents_of(backup):
        raise Failed("The backup does not restore to what stands.", code="backup_differs")


def team_of(backup: Backup) -> TeamSaid | None:
    """Of which engine and migrations the rows of the team's own tables are in it; None for none."""
    said = contents_of(backup)["team"]
    return None if said is None else TeamSaid.model_validate(said)


def lead_scratch(work: Work, scratch: Connection, said: TeamSaid | None) -> None:
    """Have the team's tables in a scratch place as those migrations left them.

    Raises Failed (`migrations_differ`) where they are not the first of those that are declared.
    """
    if said is None:
        return
    from control_plane.fleet.scratch import lead  # its parser takes its time to load

    catalog = work.ports.catalog
    now = work.ports.clock.now()
    lead(scratch, catalog.migrations, set(catalog.collections), said.migrations, now)


def contents_of(backup: Backup) -> dict[str, Json]:
    """What a restore of it must come to, as a summary says it now."""
    return archive.told(backup.contents)


@contextmanager
def lines_of(work: Work, backup: Backup, collections: Sequence[Collection]) -> Generator[IO[bytes]]:
    """The archive's rows as canonical lines, whatever its kind; to be read once.

    `collections` are those of its day. Of an engine's own form a scratch copy is opened first, and
    held against the manifest. Raises as `Archives.open` does; Refused (`archive_differs`).
    """
    archives = archives_of(work)
    with archives.open(backup.tenant, backup.id, backup.digest) as source:
        if backup.kind in (None, "canonical"):
            yield source
            return
        with (
            archives.aside(backup.tenant) as aside,
            # It has no name: nothing of it is left, whatever ends this process.
            tempfile.TemporaryFile(dir=aside.parent) as lines,
        ):
            found = _rewritten(archives, backup, collections, source, aside, lines)
            if plain(found) != contents_of(backup):
                raise Refused("The archive is not what its manifest says.", code="archive_differs")
            lines.seek(0)
            yield lines


def _written(
    work: Work,
    source: Connection,
    collections: Sequence[Collection],
    kind: ArchiveKind,
    target: IO[bytes],
) -> archive.Summary:
    tenant, archives = work.run.tenant, archives_of(work)
    if kind == "canonical":
        return archive.export_tenant(source, collections, tenant, target)
    summed = archive.summary(source, collections, tenant)
    if kind == "sqlite":
        with archives.aside(tenant) as aside:
            sqlite_copy.write_copy(source, target, aside)
    else:
        from control_plane.databases import postgres_dump  # its driver takes its time to load

        programs = archives.dump_programs(postgres_dump.server_major(source))
        postgres_dump.write_dump(source, target, programs)
    return summed


def _rewritten(
    archives: Archives,
    backup: Backup,
    collections: Sequence[Collection],
    source: IO[bytes],
    aside: Path,
    lines: IO[bytes],
) -> archive.Summary:
    """Write the rows of an engine's own form as canonical lines; what they come to."""
    if backup.kind == "sqlite":
        with sqlite_copy.opened_copy(source, aside) as copy:
            return archive.export_tenant(copy, collections, backup.tenant, lines)
    from control_plane.databases import postgres_dump  # its driver takes its time to load

    with aside.open("wb") as file:
        shutil.copyfileobj(source, file)
    rows = postgres_dump.dumped_rows(aside, collections, backup.tenant, archives.dump_programs(0))
    return archive.write_rows(rows, collections, backup.tenant, lines)


def _tables(made: archive.Summary) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", plain(made.tables))
