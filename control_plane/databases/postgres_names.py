"""The names of what a tenant has on a Postgres server, made of the tenant's id. Not the things.

A tenant's id has no `_`, and a prefix no `__`: so no two names of ours are ever the same, whatever
the tenants of however many workspaces are called.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from control_plane.databases.port import check_tenant
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import BadInput

_PREFIX: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SILO: Final = "silo"
_POOLED: Final = "pooled"
# The longest name is a bridge tenant's role: prefix, `__br_` and 40 characters, of Postgres's 63.
PREFIX_LENGTH_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's rows lie: tables in a schema of a database, entered by a role."""

    tenant: str
    database: str
    schema: str
    role: str

    @property
    def is_pooled(self) -> bool:
        """Whether other tenants' rows lie in the same tables."""
        return self.schema == _POOLED

    @property
    def is_shared(self) -> bool:
        """Whether other tenants' tables or rows lie in the same database."""
        return self.schema != _SILO

    @property
    def lock(self) -> int:
        """The key of the lock between the tenant's writers and who closes it."""
        return lock_key(self.database, self.schema, self.tenant)


class Names:
    """The names under one prefix. Raises BadInput (`prefix`)."""

    def __init__(self, prefix: str) -> None:
        if len(prefix) > PREFIX_LENGTH_MAX or _PREFIX.fullmatch(prefix) is None:
            raise BadInput(
                "prefix", f"must be 1 to {PREFIX_LENGTH_MAX} of a-z, 0-9 and single _ between them"
            )
        self._prefix = prefix

    @property
    def shared(self) -> str:
        """The database of all bridge and pooled tenants."""
        return f"{self._prefix}__shared"

    @property
    def pooled_role(self) -> str:
        """The role of every pooled tenant."""
        return f"{self._prefix}__pooled"

    @property
    def bridge_group(self) -> str:
        """The role whose rights every bridge tenant's role has: those that are no tenant's own."""
        return f"{self._prefix}__bridge"

    @property
    def trials(self) -> str:
        """What the name of every database for a trial begins with."""
        return f"{self._prefix}__tr_"

    def trial(self, tenant: str) -> str:
        """The database of a tenant's trial restore."""
        return self.trials + check_tenant(tenant)

    def place(self, tenant: str, model: Isolation) -> Place:
        """Where the tenant's rows lie; nothing of it need be there."""
        check_tenant(tenant)
        if model == "silo":
            own = f"{self._prefix}_{tenant}"
            return Place(tenant, own, _SILO, own)
        if model == "bridge":
            role = f"{self._prefix}__br_{tenant}"
            return Place(tenant, self.shared, f"bridge_{tenant}", role)
        if model == "pooled":
            return Place(tenant, self.shared, _POOLED, self.pooled_role)
        raise BadInput("model", "must be one of " + ", ".join(ISOLATIONS))


def lock_key(*parts: str) -> int:
    """A number for an advisory lock, the same in every process."""
    named = hashlib.sha256("\0".join(("paybill", *parts)).encode()).digest()
    return int.from_bytes(named[:8], "big", signed=True)
