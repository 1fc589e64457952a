"""Makes and opens the workspace's store, by the login of who opens it. Not the store's rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL

from control_plane.errors import Unavailable
from control_plane.ports import Store
from control_plane.store import migrate
from control_plane.store.sqlite import SqliteStore
from server.login_files import read_login
from server.private_files import require_own_file, write_new_file
from server.workspace import Workspace

if TYPE_CHECKING:
    from control_plane.store.logins import Login

# A face is often started together with the worker that brings the tables up to date.
_HEAD_DEADLINE_S: Final = 30.0


def create_store(path: Path) -> Store:
    """Make a new store file (0600) with every table. FileExistsError when it is there."""
    # Made by us before the driver does, because the driver would make it under the umask.
    write_new_file(path, b"")
    upgrade(path)
    return SqliteStore(path)


def open_store(workspace: Workspace, login: Login = "worker") -> Store:
    """Open the store that `init` made, brought to this version's tables.

    On SQLite there is one login, and it is the file's owner. On Postgres only the worker's brings
    tables up to date; every other waits for it. Raises Unavailable (`store_absent`, `login_absent`,
    and as `migrate.upgrade` and `await_head`), NotPrivate.
    """
    if workspace.store == "postgres":
        return _open_postgres(workspace, login)
    try:
        require_own_file(workspace.store_db)
    except FileNotFoundError:
        raise Unavailable("the workspace's store is gone", code="store_absent") from None
    upgrade(workspace.store_db)
    return SqliteStore(workspace.store_db)


def upgrade(path: Path) -> None:
    """Bring a store file to this version's tables. Errors as `migrate.upgrade`."""
    migrate.upgrade(path)


def upgrade_postgres(url: URL, workspace_id: str) -> None:
    """The same on Postgres, with the rights of every login, by the worker's."""
    from control_plane.store.logins import Names
    from control_plane.store.roles import entitle

    migrate.upgrade_postgres(url, entitle=partial(entitle, names=Names(workspace_id)))


def _open_postgres(workspace: Workspace, login: Login) -> Store:
    # A workspace on SQLite never needs the driver.
    from control_plane.store.postgres import PostgresStore

    url = read_login(workspace.state, login)
    if login == "worker":
        upgrade_postgres(url, workspace.id)
        return PostgresStore(url)
    store = PostgresStore(url)
    try:
        migrate.await_head(store, _HEAD_DEADLINE_S if login == "face" else 0)
    except BaseException:
        store.close()
        raise
    return store
