"""The facts of a tenant's database that policy decides on, with what a command proposes for it. Not the database."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.domain.gate import GateLevel
from control_plane.domain.tenant import AccessMode
from control_plane.facts.approvable import Approvable


class DatabaseFacts(Approvable):
    """Kind ``database``: one of them; of a lifecycle, the one that serves the tenant.

    ``rows_lost`` is known once a restore is planned: how many rows of now are not in what it brings.
    ``clear_groups`` are the field groups that a clone would show as they are, `general` aside, and
    ``clear_handles`` says whether one of them holds what otherwise leaves as a handle alone. What a
    migration weighs, from ``migrations`` to ``changes_rows``, is known once it is planned.
    """

    kind: ClassVar[str] = "database"

    exists: bool
    member: bool
    state: str = ""
    purpose: Literal["", "serving", "incoming", "former", "clone"] = ""
    isolation: Literal["", "silo", "bridge", "pooled"] = ""
    tenant_state: str = ""
    access_mode: AccessMode = "none"
    billing_level: GateLevel = "clear"
    operation: Literal[
        "", "backup", "restore", "swap_back", "clone", "drop", "rotate", "migrate"
    ] = ""
    backup_verified: bool = False
    former_kept: bool = False
    rows_lost: int = 0
    clear_groups: tuple[str, ...] = ()
    clear_handles: bool = False
    migrations: int = 0
    contracts: int = 0
    non_transactional: int = 0
    changes_rows: bool = False
