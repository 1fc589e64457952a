"""A plan: what exactly a call would do, with one digest over all of its parts. Not a decision about it."""

from __future__ import annotations

from control_plane.domain.canonical import Json, digest
from control_plane.domain.record import Record


class Plan(Record):
    """What a command would do, as of an instant, over named fact sets.

    ``facts`` maps the name of each fact set that plan and decision read to the digest of the values
    used; ``parts`` holds what would change, by kind (entitlement, rows, infrastructure).
    """

    command: str
    tenant: str
    as_of: str
    catalog: str
    bundle: str
    facts: dict[str, str]
    parts: dict[str, Json]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical plan: what an approver signs and a permit is bound to."""
        return digest(self)
