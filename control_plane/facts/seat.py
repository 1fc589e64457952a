"""The facts of a tenant's seats that policy decides on. Not who holds one."""

from __future__ import annotations

from typing import ClassVar

from control_plane.domain.tenant import AccessMode
from control_plane.facts.base import Facts


class SeatFacts(Facts):
    """Kind ``seat``: how many there are and are held. ``holds``: whether who is named has one."""

    kind: ClassVar[str] = "seat"

    exists: bool
    member: bool
    access_mode: AccessMode = "none"
    billing_access: AccessMode = "full"
    tenant_state: str = ""
    size: int = 0
    assigned: int = 0
    reserved: int = 0
    holds: bool = False

    def unread(self) -> frozenset[str]:
        """The counts: they move with every seat, and the rule itself holds them under the lock.

        Else of two who take two seats at once one would be told that the facts moved, though there
        is room for both.
        """
        return frozenset({"size", "assigned", "reserved", "holds"})
