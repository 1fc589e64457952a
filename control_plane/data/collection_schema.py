"""The JSON Schema of a collection's file, for editors. Not what reads it: that asks for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from control_plane.data.collection import RESERVED_PREFIXES, Collection
from control_plane.data.field import LENGTH_MAX, OPTIONS, REQUIRED, Kind
from control_plane.domain.editor_schema import DIALECT, editor_schema

_COMMON: Final = ("description", "nullable", "group")
_DEFAULTS: Final[Mapping[str, Any]] = {
    "integer": {"type": "integer"},
    "money": {"type": "integer"},
    "boolean": {"type": "boolean"},
}


def collection_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of one file in `collections/`, as the YAML it is."""
    made = editor_schema(Collection.model_json_schema(mode="validation"))
    parts: dict[str, Any] = made["$defs"]
    parts["Field"] = {"oneOf": [_field(kind, parts["Field"]) for kind in get_args(Kind)]}
    properties: dict[str, Any] = made["properties"]
    properties["name"]["not"] = {"pattern": f"^({'|'.join(RESERVED_PREFIXES)})"}
    return {
        "$schema": DIALECT,
        "title": "A collection of Paybill",
        "description": "A table that agents may use, in catalog/collections/<name>.yaml.",
        "type": "object",
        "additionalProperties": False,
        "required": made["required"],
        "properties": properties,
        "if": {"required": ["reference"], "properties": {"reference": {"const": True}}},
        "then": {"required": ["key", "rows"], "properties": {"indexes": {"maxItems": 0}}},
        "else": {"properties": {"key": False, "rows": {"maxItems": 0}}},
        "$defs": parts,
    }


def _field(kind: Kind, every: Mapping[str, Any]) -> dict[str, Any]:
    known: Mapping[str, Any] = every["properties"]
    common = [name for name in _COMMON if (kind, name) != ("computed", "nullable")]
    properties = {name: dict(known[name]) for name in (*common, *OPTIONS[kind])}
    if "max_length" in properties:
        properties["max_length"]["maximum"] = LENGTH_MAX[kind]
    if "default" in properties:
        told = known["default"]["description"]
        properties["default"] = {**_DEFAULTS.get(kind, {"type": "string"}), "description": told}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", *REQUIRED.get(kind, ())],
        "properties": {"kind": {"const": kind, **_told(known["kind"])}, **properties},
    }


def _told(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]}
