"""The facts of what a tenant may use that policy decides on. Not whether it may use it."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class EntitlementFacts(Facts):
    """Kind ``entitlement``: it is there where the tenant has a subscription. ``feature`` is asked for."""

    kind: ClassVar[str] = "entitlement"

    exists: bool
    member: bool
    feature: str
    access_mode: Literal["full", "read_only", "none"] = "none"
    tenant_state: str = ""
    subscription_state: str = ""
