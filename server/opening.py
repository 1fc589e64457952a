"""Makes and opens the workspace's store. Not the store's rows, nor who may read them."""

from __future__ import annotations

from pathlib import Path

from control_plane.errors import Unavailable
from control_plane.store import migrate
from control_plane.store.sqlite import SqliteStore
from server.private_files import require_own_file, write_new_file
from server.workspace import Workspace


def create_store(path: Path) -> SqliteStore:
    """Make a new store file (0600) with every table. FileExistsError when it is there."""
    # Made by us before the driver does, because the driver would make it under the umask.
    write_new_file(path, b"")
    upgrade(path)
    return SqliteStore(path)


def open_store(workspace: Workspace) -> SqliteStore:
    """Open the store that `init` made, brought to this version's tables.

    Raises Unavailable (`store_absent`), NotPrivate.
    """
    try:
        require_own_file(workspace.store_db)
    except FileNotFoundError:
        raise Unavailable("the workspace's store is gone", code="store_absent") from None
    upgrade(workspace.store_db)
    return SqliteStore(workspace.store_db)


def upgrade(path: Path) -> None:
    """Bring a store file to this version's tables. Errors as `migrate.upgrade`."""
    migrate.upgrade(path)
