"""The files of reference rows on SQLite: made anew whenever the catalog's differ. Not the tenants'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.data.tables import (
    REFERENCE,
    REFERENCE_SCHEMA,
    SCHEMA_VERSION,
    fill_reference,
    reference_digest,
    reference_metadata,
)
from control_plane.databases.connections import open_reference
from control_plane.databases.files import DatabaseFiles


def refresh(files: DatabaseFiles, path: Path, collections: Sequence[Collection]) -> None:
    """Replace the file, whole, unless it has the declared rows. Only under `changing`."""
    wanted = reference_digest(collections)
    if wanted is not None and _kept(path) != wanted:
        files.replace(path, lambda unfinished: _fill(unfinished, collections))


def holds(connection: Connection, collections: Sequence[Collection]) -> bool:
    """Whether the schema that is attached has the declared rows; always where none is declared."""
    wanted = reference_digest(collections)
    if wanted is None:
        return True
    if REFERENCE_SCHEMA not in inspect(connection).get_schema_names():
        return False
    return _digest(connection) == wanted


def _fill(path: Path, collections: Sequence[Collection]) -> None:
    with open_reference(path, filling=True).begin() as connection:
        reference_metadata(collections).create_all(connection)
        fill_reference(connection, collections)


def _kept(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        with open_reference(path, filling=False).connect() as connection:
            return _digest(connection)
    except DBAPIError:
        return None  # nothing that can be read: to be replaced like what differs


def _digest(connection: Connection) -> str | None:
    kept = select(REFERENCE.c.digest).where(REFERENCE.c.version == SCHEMA_VERSION)
    return connection.execute(kept).scalar_one_or_none()
