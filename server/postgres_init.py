"""A new workspace's database on Postgres, whole or not at all. Not the rows that init writes into it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import URL

from control_plane.ports import Store
from server.login_files import server_of, write_login
from server.opening import upgrade_postgres
from server.private_files import read_own_file, sync_folder, write_new_file

PLACE_NAME: Final = "postgres.json"
_PLACE_BYTES_MAX: Final = 4096


class Place(BaseModel):
    """Where a workspace's database is, and the mark under which init made it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["paybill-postgres-place-1"] = "paybill-postgres-place-1"
    server: str
    workspace_id: str
    mark: str


def make_store(draft: Path, owner: URL, workspace_id: str, mark: str) -> Store:
    """Make database, logins and tables, and the logins' files in the draft. Errors as `logins.make`."""
    from control_plane.store.logins import Names, make
    from control_plane.store.postgres import PostgresStore

    place = Place(server=server_of(owner), workspace_id=workspace_id, mark=mark)
    # Seen on the disk before anything is made: a kill from here on leaves what says what to remove.
    write_new_file(draft / PLACE_NAME, place.model_dump_json().encode() + b"\n")
    sync_folder(draft)
    sync_folder(draft.parent)
    made = make(owner, Names(workspace_id), mark)
    for login, url in made.items():
        write_login(draft, login, url)
    upgrade_postgres(made["worker"], workspace_id)
    return PostgresStore(made["worker"])


def discard_draft(draft: Path, owner: URL | None) -> None:
    """Remove an unfinished state with the database that was made for it.

    Without an owner's login on that server the draft stays: it is what a later init needs to know
    the database for an unfinished one.
    """
    place = _place(draft)
    if place is not None:
        if owner is None or server_of(owner) != place.server:
            return
        from control_plane.store.logins import Names, remove

        remove(owner, Names(place.workspace_id), place.mark)
    shutil.rmtree(draft, ignore_errors=True)


def _place(draft: Path) -> Place | None:
    try:
        return Place.model_validate_json(
            read_own_file(draft / PLACE_NAME, bytes_max=_PLACE_BYTES_MAX)
        )
    except FileNotFoundError:
        return None
    except ValidationError:
        # Cut off while it was written, so nothing was made yet.
        return None
