"""The facts of a tenant's records that policy decides on: whose, and what a change of them weighs. Not a row's values."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class RecordFacts(Facts):
    """Kind ``record``: the collection, and the standing of the tenant that owns it."""

    kind: ClassVar[str] = "record"
    # A plan weighs the rows that it is bound to, and a run adds its own approval.
    own_writes: ClassVar[frozenset[str]] = frozenset(
        {
            "stage",
            "step",
            "change_rows",
            "change_groups",
            "change_money_max",
            "approval_present",
            "approval_by",
            "approval_digest",
            "approval_expired",
            "plan_digest",
        }
    )

    exists: bool
    member: bool
    collection: str
    access_mode: Literal["full", "read_only", "none"] = "none"
    tenant_state: str = ""
    cordoned: bool = False
    reference: bool = False
    stage: Literal["", "propose", "apply"] = ""
    step: str = ""
    change_rows: int = 0
    change_groups: tuple[str, ...] = ()
    change_money_max: int = 0
    approval_rule: Literal["two_people", "own_hand"] = "two_people"
    approval_present: bool = False
    approval_by: str = ""
    approval_digest: str = ""
    approval_expired: bool = False
    plan_digest: str = ""
    requester: str = ""
