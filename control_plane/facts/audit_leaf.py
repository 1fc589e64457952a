"""The facts of a leaf of the audit log that policy decides on. Not its payload: that is sealed."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.base import Facts


class AuditLeafFacts(Facts):
    """Kind ``audit_leaf``: a leaf about no tenant has only callers with every tenant as members."""

    kind: ClassVar[str] = "audit_leaf"

    exists: bool
    member: bool
