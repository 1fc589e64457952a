"""What rows were before a run changed them, kept in the tenant's database. Not the undoing itself.

Beside the rows and not in our own store: it is the tenant's data, goes where the tenant goes, and
commits with the change or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from control_plane.data.tables import UNDO
from control_plane.domain.canonical import Json

# How long a run of changes can be undone.
UNDO_WINDOW: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Image:
    """One row as it was: None where there was none. `version` is the one that the run left, 0 for none."""

    id: str
    version: int
    before: Mapping[str, Json] | None


def keep_images(
    connection: Connection, tenant: str, call_id: str, images: Sequence[Image], *, now: datetime
) -> None:
    """Keep what a call has changed, and forget what is past the window."""
    mine = UNDO.c.tenant_id == tenant
    connection.execute(delete(UNDO).where(mine, UNDO.c.kept_at < now - UNDO_WINDOW))
    told = [[one.id, one.version, None if one.before is None else {**one.before}] for one in images]
    values = {"tenant_id": tenant, "call_id": call_id, "images": told, "kept_at": now}
    connection.execute(insert(UNDO), values)


def images_of(
    connection: Connection, tenant: str, call_id: str, *, now: datetime
) -> tuple[Image, ...] | None:
    """What the call has changed; None where nothing is kept of it, or no longer."""
    kept = select(UNDO.c.images).where(
        UNDO.c.tenant_id == tenant,
        UNDO.c.call_id == call_id,
        UNDO.c.kept_at >= now - UNDO_WINDOW,
    )
    found: list[list[Any]] | None = connection.execute(kept).scalar_one_or_none()
    if found is None:
        return None
    return tuple(Image(str(row_id), int(version), before) for row_id, version, before in found)


def forget_images(connection: Connection, tenant: str, call_id: str) -> None:
    """Forget what one call has changed: it is undone."""
    connection.execute(delete(UNDO).where(UNDO.c.tenant_id == tenant, UNDO.c.call_id == call_id))
