"""The servers that tenants' stacks make, as named servers of the workspace: adopted, left. Not the stacks."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import URL

from control_plane.domain.home import stack_server
from control_plane.domain.isolation import Cloud
from control_plane.errors import Failed, PaybillError, Unavailable
from control_plane.handlers.stack_home import takes_no_rows
from control_plane.provisioning.stack_database import StackDatabase
from control_plane.provisioning.stack_places import StackPlace, StackPlaces
from control_plane.provisioning.stacks import StackRequest
from control_plane.secrets.owner_login import OwnerLogin, SecretSource
from server.login_files import DRIVER, read_login
from server.private_files import make_private_folder, read_own_file, sync_folder, write_new_file
from server.tenant_servers import keep_logins, mark_path
from server.workspace import Workspace

_BYTES_MAX: Final = 16_384
_PAUSE_S: Final = 1.0

Source = Callable[[StackPlace, str, str], SecretSource]
"""Where secrets lie, for a place, a tenant and its region."""


class _Mark(BaseModel):
    """What is kept of a server while it is ours: written before its logins are made, gone with them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["paybill-stack-server-1"] = "paybill-stack-server-1"
    tenant: str
    cloud: Cloud
    region: str
    database: StackDatabase


class StackLogins:
    """StackServers over the login files of a workspace's state."""

    def __init__(self, workspace: Workspace, places: StackPlaces, source: Source) -> None:
        self._workspace = workspace
        self._places = places
        self._source = source

    def takes_rows(self, cloud: str) -> bool:
        """Whether the worker's user has declared that silo stacks of that cloud take rows."""
        return self._places.of(cloud) is not None

    def adopt(
        self,
        request: StackRequest,
        found: StackDatabase,
        should_stop: Callable[[], bool],
        *,
        anew: bool,
    ) -> None:
        """Have the workspace's logins on the stack's server, and keep them. Raises as the port says."""
        from control_plane.store.logins import Names, adopt_for_tenants

        name = stack_server(request.tenant)
        kept = self._mark(name)
        moved = kept is not None and kept.database.at != found.at
        if moved and not anew:
            raise Failed("The stack's server stands elsewhere now.", code="stack_server_moved")
        if kept is not None and not moved and self._is_let_in(name):
            return
        place = self._places.of(request.cloud)
        if place is None:
            raise takes_no_rows()
        mark = _Mark(
            tenant=request.tenant, cloud=request.cloud, region=request.region, database=found
        )
        owner = self._owner(place, mark)
        _await(owner, place.answer_within_s, should_stop)
        # From here on there may be logins: until they are kept, or taken away, nobody says that
        # nothing stands there.
        self._write_mark(name, mark)
        logins = adopt_for_tenants(owner, Names(self._workspace.id), name)
        keep_logins(self._workspace, name, logins)

    def leave(self, tenant: str) -> bool:
        """Forget the server, and remove our logins there as far as it answers; whether they are removed."""
        from control_plane.store.logins import Names, remove_for_tenants

        name = stack_server(tenant)
        mark = self._mark(name)
        # First: logins that were removed must not be tried by anybody.
        shutil.rmtree(self._workspace.servers / name, ignore_errors=True)
        mark_path(self._workspace, name).unlink(missing_ok=True)
        place = None if mark is None else self._places.of(mark.cloud)
        if mark is None or place is None:
            return mark is None
        try:
            owner = self._owner(place, mark)
            remove_for_tenants(owner, Names(self._workspace.id), name)
        except PaybillError:
            # The server goes with its stack, and with it whatever is left there.
            return False
        return True

    def _owner(self, place: StackPlace, mark: _Mark) -> URL:
        login = self._source(place, mark.tenant, mark.region).get(mark.database.secret)
        return owner_url(place, mark.database, login)

    def _is_let_in(self, name: str) -> bool:
        from control_plane.store.logins import knock

        try:
            login = read_login(self._workspace.servers / name, "worker")
        except Unavailable:
            return False
        return knock(login) == "open"

    def _mark(self, name: str) -> _Mark | None:
        path = mark_path(self._workspace, name)
        try:
            content = read_own_file(path, bytes_max=_BYTES_MAX, closed=True)
            return _Mark.model_validate_json(content)
        except FileNotFoundError:
            return None
        except ValidationError:
            raise Unavailable(f"{path} is malformed", code="login_absent") from None

    def _write_mark(self, name: str, mark: _Mark) -> None:
        make_private_folder(self._workspace.servers)
        path = mark_path(self._workspace, name)
        draft = path.with_name(f"{path.name}.draft")
        draft.unlink(missing_ok=True)
        write_new_file(draft, mark.model_dump_json().encode() + b"\n")
        draft.replace(path)
        sync_folder(path.parent)


def owner_url(place: StackPlace, found: StackDatabase, login: OwnerLogin) -> URL:
    """How the worker gets into a new server, with what libpq is told of encryption."""
    return URL.create(
        DRIVER,
        username=login.username,
        password=login.password.get_secret_value(),
        host=found.host,
        port=found.port,
        database=found.name,
        query=place.connection(found.host),
    )


def _await(owner: URL, within_s: float, should_stop: Callable[[], bool]) -> None:
    """Wait until a new server answers, and no longer than that."""
    from control_plane.store.logins import knock

    ends_s = time.monotonic() + within_s
    while True:
        answered = knock(owner)
        if answered == "open":
            return
        if answered == "refused":
            raise Failed(
                "The stack's server does not take the login that its secret holds.",
                code="stack_login_refused",
            )
        if should_stop():
            raise Failed("The run was asked to stop.", code="canceled")
        if time.monotonic() >= ends_s:
            raise Unavailable(
                "The stack's server does not answer, or not encrypted as it must.",
                code="stack_server_silent",
            )
        time.sleep(_PAUSE_S)
