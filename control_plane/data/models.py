"""A collection as pydantic models: what is sent in, what comes out. Not tables, no masking."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as Described

from control_plane.data.collection import COLLECTIONS_MAX, Collection
from control_plane.data.field import Field
from control_plane.data.values import value_type

_CONFIG = ConfigDict(frozen=True, extra="forbid", strict=True)


@lru_cache(maxsize=COLLECTIONS_MAX)
def input_model(collection: Collection) -> type[BaseModel]:
    """What a caller sends to create a row: declared fields; a nullable one may be left out."""
    fields: dict[str, Any] = {
        name: (_annotation(field), None if field.nullable else ...)
        for name, field in collection.fields.items()
    }
    return _model(collection, "Input", fields)


@lru_cache(maxsize=COLLECTIONS_MAX)
def output_model(collection: Collection) -> type[BaseModel]:
    """What a caller gets of a row. A field that is masked is absent, one that has no value is null.

    Dump it with `exclude_unset=True`; the tenant is the caller's own and does not come back.
    """
    fields: dict[str, Any] = {
        name: (_annotation(field), ...)
        for name, field in collection.implicit.items()
        if name != "tenant_id"
    }
    for name, field in collection.fields.items():
        absent = Described(default=None, json_schema_extra=_without_default)
        fields[name] = (_annotation(field), absent)
    return _model(collection, "Output", fields)


def _model(collection: Collection, suffix: str, fields: dict[str, Any]) -> type[BaseModel]:
    name = "".join(part.capitalize() for part in collection.name.split("_")) + suffix
    return create_model(name, __config__=_CONFIG, __doc__=collection.description, **fields)


def _annotation(field: Field) -> Any:
    kind = value_type(field)
    return kind | None if field.nullable else kind


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)
