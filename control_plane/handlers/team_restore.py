"""An archive's lines as a place takes them whose team's tables are of later migrations, or of another engine. Not the loading.

Then the archive is restored into a scratch place on that engine, with the team's tables as its own
migrations left them; the later ones are applied to it, and what then stands there is what is loaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import IO

from control_plane.data import archive
from control_plane.data.archive_parts import parts_of
from control_plane.data.collection import Collection
from control_plane.data.team_archive import said_of
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.backup_manifest import TeamSaid
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, plain
from control_plane.domain.isolation import Isolation
from control_plane.errors import Refused
from control_plane.handlers.backup_proof import (
    archives_of,
    contents_of,
    lead_scratch,
    lines_of,
    team_of,
)
from control_plane.handlers.handler import Work


def team_there(engine: DatabaseEngine, model: Isolation, tenant: str) -> TeamSaid | None:
    """Of which engine and migrations the team's tables are in a tenant's place. Raises NotFound."""
    with engine.reading(tenant, model) as connection:
        return said_of(team_shape(connection))


@contextmanager
def lines_for(
    work: Work,
    backup: Backup,
    collections: Sequence[Collection],
    engine: DatabaseEngine,
    model: Isolation,
) -> Generator[tuple[IO[bytes], dict[str, Json]]]:
    """The archive's lines as the tenant's place takes them, and what they come to; to be read once.

    `collections` are those of the archive's day, and so are the lines'. Raises as `lines_of`;
    Failed (`migrations_differ`) where the archive's migrations are not the first of the place's;
    Refused (`rows_do_not_fit`, `constraint`) where a later migration or the engine does not take a
    row.
    """
    there = team_there(engine, model, backup.tenant)
    if there == team_of(backup):
        with lines_of(work, backup, collections) as source:
            yield source, contents_of(backup)
        return
    with (
        archives_of(work).aside(backup.tenant) as aside,
        # It has no name: nothing of it is left, whatever ends this process.
        tempfile.TemporaryFile(dir=aside.parent) as lines,
    ):
        with (
            engine.scratch(backup.tenant, model, collections) as scratch,
            lines_of(work, backup, collections) as source,
        ):
            lead_scratch(work, scratch, team_of(backup))
            archive.load_tenant(scratch, collections, backup.tenant, source)
            lead_scratch(work, scratch, there)
            made = archive.export_tenant(scratch, collections, backup.tenant, lines)
        _require_records(backup, collections, plain(made))
        lines.seek(0)
        yield lines, _contents(made)


def _contents(made: archive.Summary) -> dict[str, Json]:
    said = plain(made)
    assert isinstance(said, dict), "a summary is an object"
    return said


def _require_records(backup: Backup, collections: Sequence[Collection], made: Json) -> None:
    """No record is another one for having gone through a scratch place.

    What a later migration has made of the team's own rows nobody can say beforehand.
    """
    assert isinstance(made, dict), "a summary is an object"
    tables, known = made["tables"], contents_of(backup)["tables"]
    assert isinstance(tables, dict), "a summary has tables"
    assert isinstance(known, dict), "a summary has tables"
    if any(tables[name] != known[name] for name in parts_of(collections)):
        raise Refused("The archive is not what its manifest says.", code="archive_differs")
