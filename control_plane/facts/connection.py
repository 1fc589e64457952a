"""The facts of what a tenant's services are handed that policy decides on. Not the database, and no secret."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.base import Facts


class ConnectionFacts(Facts):
    """Kind ``connection``: it is there once the tenant's services were handed anything."""

    kind: ClassVar[str] = "connection"

    exists: bool
    member: bool
