"""The facts of a tenant's records as a whole that policy decides on. Not a row's values."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class RecordFacts(Facts):
    """Kind ``record``: the collection, and the standing of the tenant that owns it."""

    kind: ClassVar[str] = "record"

    exists: bool
    member: bool
    collection: str
    access_mode: Literal["full", "read_only", "none"] = "none"
    tenant_state: str = ""
    cordoned: bool = False
    reference: bool = False
