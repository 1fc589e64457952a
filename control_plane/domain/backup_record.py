"""A backup as it is kept: whose data it holds, its digest, and when it was last proven. Not the archive."""

from __future__ import annotations

from control_plane.domain.canonical import Json
from control_plane.domain.record import Record


class Backup(Record):
    """A tenant's data at an instant. ``contents`` is the manifest: what a restore must come to.

    ``run_id`` is the run that answers for it now: the one that made it, or a later one that goes
    on from there. ``verified_at`` is when it was last restored on trial; it is given to one backup
    of a tenant alone, and taken away when another supersedes it. ``bytes`` is the archive's size.
    Without a ``kind`` it is an archive of before there were several; ``key_version`` is of the
    tenant's data key that it is sealed under. From ``removed_at`` on the row alone is left.
    Instants are RFC 3339 in UTC.
    """

    id: str
    tenant: str
    run_id: str
    isolation: str
    made_at: str
    digest: str
    bytes: int
    contents: dict[str, Json]
    schema_digest: str
    verified_at: str | None = None
    keep_until: str
    kind: str | None = None
    key_version: int | None = None
    removed_at: str | None = None
