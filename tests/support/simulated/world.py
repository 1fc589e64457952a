"""What happens to simulated resources behind Terraform's back, as a test writes it. Not a store.

A file with a JSON list; an entry speaks of all resources of a type, or of the one with an id:

    {"type": "aws_s3_bucket", "id": "…", "attributes": {"bucket": "another"}}   it was changed
    {"type": "aws_s3_bucket", "gone": true}                                     it was deleted
    {"type": "aws_s3_bucket", "fails": "create"}          create, update or delete ends in an error

No file is a world in which nothing happens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

Deed: TypeAlias = Literal["create", "update", "delete"]


class World:
    """One file, read again at every question."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seen(self, type_name: str, state: Any) -> Any:
        """A resource as it stands now; nothing when it is gone."""
        for entry in self._entries(type_name, state):
            if entry.get("gone"):
                return None
            state = state | entry.get("attributes", {})
        return state

    def fails(self, type_name: str, deed: Deed, state: Any) -> bool:
        """Whether this deed is to end in an error."""
        return any(entry.get("fails") == deed for entry in self._entries(type_name, state))

    def _entries(self, type_name: str, state: Any) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        entries: list[dict[str, Any]] = json.loads(self._path.read_text(encoding="utf-8"))
        return [
            one
            for one in entries
            if one["type"] == type_name and one.get("id", state.get("id")) == state.get("id")
        ]
