"""The facts of a tool that policy decides on: static, from the registry. Never an argument."""

from __future__ import annotations

from typing import ClassVar, Literal

from control_plane.facts.base import Facts


class ToolFacts(Facts):
    """Kind ``mcp_tool``."""

    kind: ClassVar[str] = "mcp_tool"

    risk: Literal["read", "write", "destructive"]
    domain: str
