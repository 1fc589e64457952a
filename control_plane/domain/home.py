"""Where a tenant's database stands: on which server, in which model, in which of its places there. Not the database."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, NamedTuple, TypeAlias

from annotated_types import Ge, Le
from pydantic import StringConstraints

from control_plane.domain.isolation import Isolation

MAIN: Final = "main"
"""The workspace's own server: its Postgres, or its folder of SQLite files."""
SLOTS: Final = range(10)
"""A tenant may have as many places of one model on one server; names have room for one digit."""

STACK_SERVERS: Final = "stack_"
"""What the name of a server begins with that a tenant's own stack has made; no operator's can."""

DeclaredServerName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,38}$")]
SERVER_NAME: Final = r"^([a-z][a-z0-9-]{0,38}|stack_[a-z][a-z0-9_-]{1,33})$"
ServerName: TypeAlias = Annotated[str, StringConstraints(pattern=SERVER_NAME)]
# A server's name has 40 characters at most.
_TENANT_CHARS_MAX: Final = 34
_DIGITS: Final = 12
Slot: TypeAlias = Annotated[int, Ge(SLOTS.start), Le(SLOTS.stop - 1)]


class Home(NamedTuple):
    """A place for one tenant's database; whether anything stands there it does not say."""

    isolation: Isolation
    server: str = MAIN
    slot: int = 0


def stack_server(tenant: str) -> str:
    """The name of the server that the tenant's own stack makes; it is nobody else's."""
    if len(tenant) <= _TENANT_CHARS_MAX:
        return f"{STACK_SERVERS}{tenant}"
    # No tenant has a low line in its name: what is cut short meets no other.
    told = hashlib.sha256(tenant.encode()).hexdigest()[:_DIGITS]
    return f"{STACK_SERVERS}{tenant[: _TENANT_CHARS_MAX - _DIGITS - 1]}_{told}"


def is_stack_server(name: str) -> bool:
    """Whether a server of that name is made by a tenant's stack, and not declared by an operator."""
    return name.startswith(STACK_SERVERS)
