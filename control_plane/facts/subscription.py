"""The facts of a subscription that policy decides on. Not its money."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.base import Facts


class SubscriptionFacts(Facts):
    """Kind ``subscription``."""

    kind: ClassVar[str] = "subscription"

    exists: bool
    member: bool
    state: str = ""
    plan: str = ""
