"""A silo's home on the server that its own stack makes: planned, adopted, left. Not the logins, nor the database there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from control_plane.domain.canonical import Json
from control_plane.domain.home import MAIN, SLOTS, Home, is_stack_server, stack_server
from control_plane.errors import Failed, Refused, Unavailable
from control_plane.handlers.database_rows import standing
from control_plane.handlers.handler import Work
from control_plane.handlers.tenant_moves import tenant_of
from control_plane.provisioning.stack_database import database_of_stack
from control_plane.provisioning.stack_servers import StackServers
from control_plane.provisioning.stacks import StackRequest

_PART = "home"


def home_part(work: Work, request: StackRequest) -> dict[str, Json]:
    """The part of an onboarding's plan that says where the rows will lie; empty for the usual place.

    It stands in the plan, and so in what is approved: a setting that is changed later moves nobody.
    """
    servers = work.ports.stack_servers
    if request.isolation != "silo" or servers is None or not servers.takes_rows(request.cloud):
        return {}
    return {_PART: {"server": stack_server(request.tenant), "isolation": "silo"}}


def server_planned(work: Work) -> str:
    """On which server the run's plan has the tenant's rows."""
    part = _mapping(_mapping((work.run.plan or {}).get("parts")).get(_PART))
    return str(part.get("server", MAIN))


def require_own(tenant: str, isolation: str, server: str) -> bool:
    """Whether the server is the one of the tenant's own stack; Refused where it is another's.

    For who asks, another tenant's server is not there (`server_unknown`).
    """
    if not is_stack_server(server):
        return False
    if (server, isolation) != (stack_server(tenant), "silo"):
        raise Refused(
            "There is no such server.",
            code="server_unknown",
            rule="servers",
            fact="proposed_server",
        )
    return True


def require_takes_rows(work: Work, request: StackRequest, server: str) -> None:
    """Raise Refused (`stack_takes_no_rows`) where a move names the stack's server and may not."""
    if not is_stack_server(server) or server in work.ports.databases.names:
        return
    servers = work.ports.stack_servers
    if servers is None or not servers.takes_rows(request.cloud):
        raise takes_no_rows()


def takes_no_rows() -> Refused:
    """The worker's user has not declared that stacks of the cloud take rows."""
    return Refused(
        "Stacks of this cloud do not take their tenants' rows.",
        code="stack_takes_no_rows",
        rule="stack_databases_file",
        fact="proposed_server",
    )


def adopt(work: Work, home: Home, request: StackRequest) -> dict[str, Json]:
    """See that the home's server is there, where the tenant's stack makes it: with our logins, and kept.

    What the stack says of it counts once it is seen to stand as planned. Done again it changes
    nothing. Raises as `StackServers.adopt` does; Failed (`stack_not_ready`, `stack_output`).
    """
    if not is_stack_server(home.server):
        return {}
    provisioner = work.ports.provisioner
    assert provisioner is not None, "only the worker makes databases"
    stands = provisioner.look(request, should_stop=work.should_stop)
    if stands.settled != "present":
        raise Failed("The stack is not as planned.", code="stack_not_ready", retryable=True)
    found = database_of_stack(stands.outputs)
    _servers(work).adopt(request, found, work.should_stop, anew=_is_bare(work, home.server))
    return {"server": {"name": home.server, "at": found.at}}


def is_there(work: Work, home: Home) -> bool:
    """Whether the home's server is known: a stack's own is not until it is adopted."""
    return not is_stack_server(home.server) or home.server in work.ports.databases.names


def leave(work: Work, request: StackRequest) -> None:
    """Forget the server of a stack that is about to be destroyed, with our logins there.

    Never while a database stands there: Failed (`database_remains`).
    """
    servers = work.ports.stack_servers
    if request.isolation != "silo" or servers is None:
        return
    if stack_server(request.tenant) in work.ports.databases.names:
        _require_empty(work, request.tenant)
    servers.leave(request.tenant)


def _require_empty(work: Work, tenant: str) -> None:
    # Every database of the run's was seen to be gone. What does not answer holds nothing up: after
    # a kill the stack itself is gone in part.
    with suppress(Unavailable):
        for slot in SLOTS:
            home = Home("silo", stack_server(tenant), slot)
            if work.ports.databases.at(home).found():
                raise Failed("A database stands there.", code="database_remains", retryable=True)


def _is_bare(work: Work, server: str) -> bool:
    """Whether no database of the tenant stands on the server, but for one that is being made."""
    with work.ports.store.read() as connection:
        found = standing(connection, tenant_of(work, connection))
    return all(one.server != server or one.state == "creating" for one in found)


def _servers(work: Work) -> StackServers:
    if work.ports.stack_servers is None:
        raise takes_no_rows()
    return work.ports.stack_servers


def _mapping(value: object) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}
