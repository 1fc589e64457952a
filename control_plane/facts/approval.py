"""The facts of an approval that policy decides on. Not the signature."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class ApprovalFacts(Facts):
    """Kind ``approval``."""

    kind: ClassVar[str] = "approval"

    exists: bool
    member: bool
    own: bool
    state: str = ""
    rule: Literal["two_people", "own_hand"] = "two_people"
    requester: str = ""
