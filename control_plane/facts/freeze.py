"""The facts of a freeze that is to be set or lifted: how far it reaches. Not what it keeps from beginning."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class FreezeFacts(Facts):
    """Kind ``freeze``. ``member`` asks for the tenant of it; for a cloud or the workspace, for every one."""

    kind: ClassVar[str] = "freeze"

    exists: bool
    member: bool
    scope: Literal["workspace", "tenant", "cloud"] = "workspace"
    frozen: bool = False
