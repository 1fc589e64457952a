"""What policy knows of anything that a run does and a human may approve. Not the approval as an object: see approval.py."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class Approvable(Facts):
    """The base of kinds that are proposed, planned, approved and carried out step by step."""

    # A run goes from step to step and adds its own approval.
    own_writes: ClassVar[frozenset[str]] = frozenset(
        {
            "stage",
            "step",
            # A freeze passes: what was decided on before it is the same behind it.
            "frozen",
            "approval_present",
            "approval_by",
            "approval_digest",
            "approval_expired",
            "plan_digest",
        }
    )

    stage: Literal["", "propose", "apply"] = ""
    step: str = ""
    # Whether nothing begins here; what has begun goes on.
    frozen: bool = False
    approval_rule: Literal["two_people", "own_hand"] = "two_people"
    approval_present: bool = False
    approval_by: str = ""
    approval_digest: str = ""
    approval_expired: bool = False
    plan_digest: str = ""
    requester: str = ""
