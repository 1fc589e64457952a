"""The names of what a tenant has on a Postgres server, made of its id and of which place it is. Not the things.

A tenant's id has no `_`, and a prefix no `__`: so no two names of ours are ever the same, whatever
the tenants of however many workspaces are called.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from control_plane.databases.port import check_tenant
from control_plane.domain.handover import Half
from control_plane.domain.home import SLOTS
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import BadInput

_PREFIX: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SILO: Final = "silo"
_POOLED: Final = "pooled"
# The longest names are prefix, `__`, two characters, `_` and a tenant's 40: Postgres's 63.
PREFIX_LENGTH_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class Groups:
    """The roles whose rights the direct logins of a place have.

    `everywhere` has those of no place, where places share a database. A tenant begins in its
    login's name at the character `tenant_at`, from 1.
    """

    readers: str
    writers: str
    everywhere: str | None
    tenant_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's rows lie: tables in a schema of a database, entered by a role."""

    tenant: str
    database: str
    schema: str
    role: str
    groups: Groups

    @property
    def is_pooled(self) -> bool:
        """Whether other tenants' rows lie in the same tables."""
        return self.schema.startswith(_POOLED)

    @property
    def is_shared(self) -> bool:
        """Whether other tenants' tables or rows lie in the same database."""
        return self.schema != _SILO

    @property
    def lock(self) -> int:
        """The key of the lock between the tenant's writers and who closes it."""
        return lock_key(self.database, self.schema, self.tenant)


class Names:
    """The names under one prefix, for the places of one slot. Raises BadInput (`prefix`, `slot`)."""

    def __init__(self, prefix: str, slot: int = 0) -> None:
        if slot not in SLOTS:
            raise BadInput("slot", f"must be {SLOTS.start} to {SLOTS.stop - 1}")
        if len(prefix) > PREFIX_LENGTH_MAX or _PREFIX.fullmatch(prefix) is None:
            raise BadInput(
                "prefix", f"must be 1 to {PREFIX_LENGTH_MAX} of a-z, 0-9 and single _ between them"
            )
        self._prefix = prefix
        # The first place has the names that each had before there were others.
        self._slot = str(slot) if slot else ""

    def slot(self, number: int) -> Names:
        """The names of another slot's places. Raises BadInput (`slot`)."""
        return Names(self._prefix, number)

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

    def login(self, tenant: str, half: Half) -> str:
        """One of the two logins of a tenant's services, whichever place it is let into."""
        return f"{self._prefix}__l{half}_{check_tenant(tenant)}"

    def place(self, tenant: str, model: Isolation) -> Place:
        """Where the tenant's rows lie; nothing of it need be there."""
        check_tenant(tenant)
        slot = self._slot
        if model == "silo":
            own = f"{self._prefix}__s{slot}_{tenant}" if slot else f"{self._prefix}_{tenant}"
            return Place(tenant, own, _SILO, own, self._groups("rw", tenant))
        if model == "bridge":
            role = f"{self._prefix}__b{slot or 'r'}_{tenant}"
            groups = self._groups("pq", tenant, f"{self._prefix}__direct")
            return Place(tenant, self.shared, f"bridge{slot}_{tenant}", role, groups)
        if model == "pooled":
            groups = self._groups("xy", "pooled", f"{self._prefix}__direct")
            return Place(tenant, self.shared, f"{_POOLED}{slot}", self.pooled_role, groups)
        raise BadInput("model", "must be one of " + ", ".join(ISOLATIONS))

    def _groups(self, letters: str, whose: str, everywhere: str | None = None) -> Groups:
        # A letter for the model and what they may, and the slot: there is room for no more.
        own = [f"{self._prefix}__{letter}{self._slot or '0'}_{whose}" for letter in letters]
        return Groups(own[0], own[1], everywhere, len(f"{self._prefix}__la_") + 1)


def lock_key(*parts: str) -> int:
    """A number for an advisory lock, the same in every process."""
    named = hashlib.sha256("\0".join(("paybill", *parts)).encode()).digest()
    return int.from_bytes(named[:8], "big", signed=True)
