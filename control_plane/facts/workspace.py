"""The facts of the workspace as a whole. Not a tenant's."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.base import Facts


class WorkspaceFacts(Facts):
    """Kind ``workspace``: it exists, and every live grant is a member of it."""

    kind: ClassVar[str] = "workspace"

    exists: bool = True
    member: bool = True
