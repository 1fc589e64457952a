"""The facts of a tenant's records that policy decides on: whose, and what a change of them weighs. Not a row's values."""

from __future__ import annotations

from typing import ClassVar

from control_plane.domain.tenant import AccessMode
from control_plane.facts.approvable import Approvable


class RecordFacts(Approvable):
    """Kind ``record``: the collection, and the standing of the tenant that owns it."""

    kind: ClassVar[str] = "record"
    # A plan weighs the rows that it is bound to.
    own_writes: ClassVar[frozenset[str]] = Approvable.own_writes | {
        "change_rows",
        "change_groups",
        "change_money_max",
    }

    exists: bool
    member: bool
    collection: str
    access_mode: AccessMode = "none"
    billing_access: AccessMode = "full"
    tenant_state: str = ""
    cordoned: bool = False
    reference: bool = False
    change_rows: int = 0
    change_groups: tuple[str, ...] = ()
    change_money_max: int = 0
