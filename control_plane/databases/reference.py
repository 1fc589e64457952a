"""The files of reference rows on SQLite: made anew whenever the catalog's differ. Not the tenants'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from control_plane.data.collection import Collection
from control_plane.data.tables import (
    fill_reference,
    reference_digest,
    reference_metadata,
)
from control_plane.databases.connections import open_reference
from control_plane.databases.files import DatabaseFiles
from control_plane.databases.served import row_digests


def refresh(
    files: DatabaseFiles, path: Path, collections: Sequence[Collection], *, alone: bool
) -> None:
    """Replace the file, whole, unless it has the declared rows. Only under `changing`.

    Where it is for nobody else, `alone`, it must have no others.
    """
    wanted, kept = reference_digest(collections), _kept(path)
    if wanted is not None and (wanted not in kept or (alone and len(kept) > 1)):
        files.replace(path, lambda unfinished: _fill(unfinished, collections, [wanted]))


def settle(
    files: DatabaseFiles, path: Path, collections: Sequence[Collection], serves: Sequence[str]
) -> None:
    """Replace the file, whole, unless it serves just these digests. Only under `changing`."""
    if serves and _kept(path) != set(serves):
        files.replace(path, lambda unfinished: _fill(unfinished, collections, serves))


def _fill(path: Path, collections: Sequence[Collection], serves: Sequence[str]) -> None:
    with open_reference(path, filling=True).begin() as connection:
        reference_metadata(collections).create_all(connection)
        fill_reference(connection, collections, serves)


def _kept(path: Path) -> set[str]:
    if not path.exists():
        return set()
    try:
        with open_reference(path, filling=False).connect() as connection:
            return row_digests(connection)
    except DBAPIError:
        return set()  # nothing that can be read: to be replaced like what differs
