"""The facts of a catalog that is to be put in force, and what that would change. Not the catalog's files."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class CatalogFacts(Facts):
    """Kind ``catalog``. A workspace has one in force, so ``member`` asks for every tenant.

    What the change weighs, from ``moves`` to ``voided``, is known once a worker has compared the
    catalog with the one in force; before that it is 0 or false.
    """

    kind: ClassVar[str] = "catalog"
    # A run goes from step to step and adds its own approval.
    own_writes: ClassVar[frozenset[str]] = frozenset(
        {
            "stage",
            "step",
            "approval_present",
            "approval_by",
            "approval_digest",
            "approval_expired",
            "plan_digest",
        }
    )

    exists: bool
    member: bool
    operation: str = "apply"
    stage: Literal["", "propose", "apply"] = ""
    step: str = ""
    moves: int = 0
    refused_moves: int = 0
    loses_data: bool = False
    policies_changed: bool = False
    rights_changed: int = 0
    plans_dropped: int = 0
    voided: int = 0
    approval_rule: Literal["two_people", "own_hand"] = "two_people"
    approval_present: bool = False
    approval_by: str = ""
    approval_digest: str = ""
    approval_expired: bool = False
    plan_digest: str = ""
    requester: str = ""
