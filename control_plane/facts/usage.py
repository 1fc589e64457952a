"""The facts of a tenant's usage that policy decides on. Not what was used."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class UsageFacts(Facts):
    """Kind ``usage``: it is there where the tenant has a subscription."""

    kind: ClassVar[str] = "usage"

    exists: bool
    member: bool
    access_mode: Literal["full", "read_only", "none"] = "none"
    tenant_state: str = ""
    subscription_state: str = ""

    def unread(self) -> frozenset[str]:
        """How the tenant stands: what was used is owed, whatever became of it meanwhile."""
        return frozenset({"access_mode", "tenant_state", "subscription_state"})
