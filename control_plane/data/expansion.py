"""The schema between two declarations, which calls under both can use. Not the moves to it.

Whatever one of the two allows is allowed: fields of both are there, those of one alone may be left
out, and each bound is the wider one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import DefaultClause, MetaData, literal

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.tables import tenant_metadata
from control_plane.data.values import ValueReader

_LONG_KINDS: Final = frozenset({"string", "text", "json"})


def expanded(before: Sequence[Collection], after: Sequence[Collection]) -> tuple[Collection, ...]:
    """The collections of both, each as wide as the two declarations of it together."""
    old = {one.name: one for one in before}
    new = {one.name: one for one in after}
    both = [joined(old[name], one) if name in old else one for name, one in new.items()]
    return (*both, *(one for name, one in old.items() if name not in new))


def joined(old: Collection, new: Collection) -> Collection:
    """A collection of which calls under either declaration can read and write rows."""
    fields = {name: _wider(old.fields.get(name), field) for name, field in new.fields.items()}
    for name, field in old.fields.items():
        if name not in new.fields:
            # Who knows the new declaration alone gives it no value.
            fields[name] = field.model_copy(update={"nullable": True})
    indexes = dict.fromkeys((*new.indexes, *old.indexes))
    update: dict[str, Any] = {"fields": fields, "indexes": tuple(indexes)}
    if new.reference:
        update |= _rows(old, new, fields)
    return new.model_copy(update=update)


def expanded_metadata(before: Sequence[Collection], after: Sequence[Collection]) -> MetaData:
    """The tables of both; where a call may leave out a field that has a default, they fill it in."""
    metadata = tenant_metadata(expanded(before, after))
    old = {one.name: one for one in before}
    for collection in after:
        known = old.get(collection.name)
        if collection.reference or known is None:
            continue
        columns = metadata.tables[collection.name].c
        for name, field in collection.fields.items():
            if name not in known.fields and field.default is not None:
                value = ValueReader(field, stored=True).read(field.default)
                columns[name].server_default = DefaultClause(literal(value, columns[name].type))
    return metadata


def _wider(old: Field | None, new: Field) -> Field:
    if old is None or old.kind != new.kind:
        return new
    update: dict[str, Any] = {
        "nullable": old.nullable or new.nullable,
        "unique": old.unique and new.unique,
        "pattern": new.pattern if old.pattern == new.pattern else None,
    }
    if new.kind in _LONG_KINDS:
        update["max_length"] = max(old.length_max, new.length_max)
    if old.values is not None and new.values is not None:
        update["values"] = tuple(dict.fromkeys((*new.values, *old.values)))
    if old.precision is not None and new.precision is not None:
        update["precision"] = max(old.precision, new.precision)
    return new.model_copy(update=update)


def _rows(old: Collection, new: Collection, fields: Mapping[str, Field]) -> Mapping[str, Any]:
    """Declared rows of both; a row that only one of them has lacks what only the other declares."""
    key = str(new.key)
    kept = {row.get(key) for row in new.rows}
    gone = tuple(row for row in old.rows if row.get(key) not in kept)
    one_sided = {*new.fields} ^ {*old.fields}
    loosened = {
        name: field.model_copy(update={"nullable": True}) if name in one_sided else field
        for name, field in fields.items()
    }
    return {"fields": loosened, "rows": (*new.rows, *gone)}
