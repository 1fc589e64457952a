"""The servers that tenants' databases stand on: declared by whoever may, opened by login. Not who is where."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL

from control_plane.databases.servers import NamedServers
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.home import MAIN, is_stack_server
from control_plane.errors import BadInput, Refused
from control_plane.handlers.database_rows import stands_on
from server.login_files import read_login, server_of, write_login
from server.private_files import sync_folder
from server.workspace import Workspace

if TYPE_CHECKING:
    from control_plane.databases.port import DatabaseServer, DatabaseServers
    from control_plane.ports import Store
    from control_plane.store.logins import Login

_TENANT_BUSY_MS: Final = 2_000
_DRAFT: Final = ".adding-"


def open_servers(
    workspace: Workspace, statement_ms_max: int, login: Login, store: Store | None = None
) -> DatabaseServers:
    """Every server of the workspace; who owns the databases is the worker alone.

    One that is declared later is seen without a restart. ``store`` knows what stands on servers whose
    files are not here: on another machine, or lost.
    """
    main = _own(workspace, statement_ms_max, login)
    return servers_beside(workspace, main, statement_ms_max, login, store)


def servers_beside(
    workspace: Workspace,
    main: DatabaseServer,
    statement_ms_max: int,
    login: Login,
    store: Store | None = None,
) -> NamedServers:
    """`main` and every server that is declared beside it, by an operator or by a stack."""

    def opened(name: str) -> DatabaseServer:
        return _postgres(workspace, workspace.servers / name, statement_ms_max, login)

    def begun(name: str) -> bool:
        if mark_path(workspace, name).exists():
            return True
        if store is None:
            return False
        with store.read() as connection:
            return stands_on(connection, name)

    return NamedServers(
        main,
        lambda: declared(workspace),
        opened,
        lambda name: _stamp(workspace.servers / name),
        begun,
    )


def declared(workspace: Workspace) -> tuple[str, ...]:
    """The names of the servers beside the workspace's own."""
    if not workspace.servers.is_dir():
        return ()
    found = (one.name for one in workspace.servers.iterdir() if one.is_dir())
    return tuple(sorted(name for name in found if not name.startswith(".")))


def told(workspace: Workspace) -> dict[str, str]:
    """Where each server is that is declared, as host and port."""
    return {
        name: server_of(read_login(workspace.servers / name, "data"))
        for name in declared(workspace)
    }


def declare(workspace: Workspace, name: str, owner: URL, mark: str) -> None:
    """Make the worker's and the faces' logins on a server, and keep them under a name.

    Raises BadInput (`name`), and as `logins.make_for_tenants`.
    """
    from control_plane.store.logins import Names, make_for_tenants

    if name == MAIN or name in declared(workspace):
        raise BadInput("name", "must be of no server that there is")
    keep_logins(workspace, name, make_for_tenants(owner, Names(workspace.id), mark))


def keep_logins(workspace: Workspace, name: str, logins: Mapping[Login, URL]) -> None:
    """Keep a server's logins under its name, in the place of those that were kept of it before."""
    workspace.servers.mkdir(mode=0o700, exist_ok=True)
    draft, place = workspace.servers / f"{_DRAFT}{name}", workspace.servers / name
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    try:
        for login, url in logins.items():
            write_login(draft, login, url)
        shutil.rmtree(place, ignore_errors=True)
        # Whole or not there: a name without its logins would be a server that nobody gets into.
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(workspace.servers)


def mark_path(workspace: Workspace, name: str) -> Path:
    """What tells that the making of a stack's server has begun, and was not taken back."""
    return workspace.servers / f".{name}.json"


def undeclare(workspace: Workspace, name: str, owner: URL, standing: int) -> None:
    """Remove the logins and forget the server. Refused (`server_in_use`) while databases stand there."""
    from control_plane.store.logins import Names, remove_for_tenants

    if name not in declared(workspace) or is_stack_server(name):
        raise BadInput("name", "must be of a server that was added")
    if server_of(owner) != server_of(read_login(workspace.servers / name, "data")):
        raise BadInput("--postgres-file", "must lead to that very server")
    if standing:
        raise Refused("Databases of tenants stand there.", code="server_in_use", rule="servers")
    remove_for_tenants(owner, Names(workspace.id))
    shutil.rmtree(workspace.servers / name)


def _stamp(folder: Path) -> tuple[int, int] | None:
    """What tells one making of a server's folder from the next; None where it is not there."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _own(workspace: Workspace, statement_ms_max: int, login: Login) -> DatabaseServer:
    if workspace.store == "sqlite":
        return SqliteDatabases(workspace.data, _TENANT_BUSY_MS)
    return _postgres(workspace, workspace.state, statement_ms_max, login)


def _postgres(
    workspace: Workspace, logins: Path, statement_ms_max: int, login: Login
) -> DatabaseServer:
    # A workspace on SQLite alone never needs the driver.
    from control_plane.databases.postgres import PostgresDatabases
    from control_plane.store.logins import Names

    # All read and write rows by the login for tenants' data.
    return PostgresDatabases.opened(
        owner=read_login(logins, "worker") if login == "worker" else None,
        face=read_login(logins, "data"),
        prefix=Names(workspace.id).prefix,
        statement_ms_max=statement_ms_max,
    )
