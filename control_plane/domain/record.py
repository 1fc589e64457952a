"""The frozen base of every record we keep and every fact set. Not a schema for an agent's input: those are strict."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, with no unknown fields. Instants are RFC 3339 text in UTC with microseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
