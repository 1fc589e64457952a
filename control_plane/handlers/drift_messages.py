"""What has drifted, and what has come right, told to whoever asked for it by webhook. Not the sending, and it finds no drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from sqlalchemy import Connection, select

from control_plane.billing import webhook_endpoints
from control_plane.billing.outbox import Message, publish
from control_plane.domain.canonical import Json, digest
from control_plane.handlers.handler import Work
from control_plane.provisioning.stacks import StackRequest
from control_plane.store.infrastructure_tables import stack

KINDS: Final = ("stack.drifted", "stack.restored")
RESOURCES_MAX: Final = 50
"""How many addresses a message names; how many there are it tells too."""
_ID_DIGITS: Final = 32
_KNOWN: Final = select(stack.c.state, stack.c.drift)


def tell_found(
    work: Work, connection: Connection, request: StackRequest, found: Sequence[Json]
) -> None:
    """Tell of a look, in its own transaction and before it is written down.

    A finding is told once: the next look tells only of another one, or that there is none any more.
    """
    before = _known(connection, request)
    if found and list(found) != before:
        _tell(work, connection, request, "stack.drifted", found)
    elif not found and before:
        _tell(work, connection, request, "stack.restored", before)


def tell_applied(work: Work, connection: Connection, request: StackRequest) -> None:
    """Tell of an apply, before it is written down, where what it applied had drifted."""
    before = _known(connection, request)
    if before:
        _tell(work, connection, request, "stack.restored", before)


def _known(connection: Connection, request: StackRequest) -> list[Json]:
    """What was known to have drifted; empty where nothing was."""
    mine = (
        (stack.c.tenant == request.tenant)
        & (stack.c.cloud == request.cloud)
        & (stack.c.isolation == request.isolation)
    )
    row = connection.execute(_KNOWN.where(mine)).first()
    if row is None or row.state != "drifted":
        return []
    found: Mapping[str, list[Json]] = row.drift or {}
    return found.get("resources", [])


def _tell(
    work: Work,
    connection: Connection,
    request: StackRequest,
    kind: str,
    resources: Sequence[Json],
) -> None:
    if webhook_endpoints.any_for(connection, request.tenant):
        publish(connection, message_of(work, request, kind, resources))


def message_of(work: Work, request: StackRequest, kind: str, resources: Sequence[Json]) -> Message:
    """A finding as a message: where the stack stands, how many resources, and the first by address.

    Each resource is an object of ``address``, ``actions`` and ``attributes``, as a look notes it. Of
    those only the addresses are told, and how many there are of each kind of action.
    """
    told = [cast("dict[str, Any]", one) for one in resources]
    actions = Counter(_action(one) for one in told)
    data: dict[str, Json] = {
        "cloud": request.cloud,
        "isolation": request.isolation,
        "run_id": work.run.id,
        "resource_count": len(told),
        "actions": {name: actions[name] for name in sorted(actions)},
        "resources": sorted(str(one["address"]) for one in told)[:RESOURCES_MAX],
    }
    named = digest(["webhook message", request.tenant, kind, work.run.id])
    return Message(
        id=named[:_ID_DIGITS],
        tenant=request.tenant,
        kind=kind,
        data=data,
        made_at=work.ports.clock.now(),
    )


def _action(resource: dict[str, Any]) -> str:
    """What would put a resource right, in one word."""
    actions = list(resource["actions"])
    return "replace" if len(actions) > 1 else str(actions[0])
