"""What is made of a table: a collection's draft, and what is to be said of it. Not how it is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.data.field import Field
from control_plane.data.pulling.tenancy import TenantKey


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about a part of a table: a column, an index, a key; or the table, as ``""``."""

    part: str
    text: str


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """A field as it will be declared, and the column that it is made of."""

    column: str
    name: str
    options: Mapping[str, Any]

    def field(self) -> Field:
        """The field by the rules of a declaration. Raises pydantic's ValidationError."""
        return Field.model_validate_json(json.dumps(self.options))

    def option(self, name: str, value: Any) -> FieldDraft:
        """The draft with one more option."""
        return FieldDraft(self.column, self.name, {**self.options, name: value})


@dataclass(frozen=True, slots=True)
class Remarks:
    """What was proposed and its owner should confirm, what is lost and why, what else to know."""

    proposed: tuple[Remark, ...] = ()
    not_mapped: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class CollectionDraft:
    """A collection made of a table. Without fields it cannot be declared."""

    table: str
    name: str
    description: str
    fields: tuple[FieldDraft, ...]
    indexes: tuple[tuple[str, ...], ...]
    remarks: Remarks

    def declared(self) -> dict[str, Any]:
        """The declaration, as plain data of its own."""
        found: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "fields": {one.name: dict(one.options) for one in self.fields},
        }
        if self.indexes:
            found["indexes"] = [list(one) for one in self.indexes]
        return found


@dataclass(frozen=True, slots=True)
class Pulled:
    """Everything that was made of a schema."""

    collections: tuple[CollectionDraft, ...]
    undeclared: tuple[CollectionDraft, ...]
    tenant_key: TenantKey | None
    left_out: tuple[tuple[str, str], ...]
