"""The tools that one collection has of its own: its fields are their types. Not those over any collection.

They make the same commands as the tools of `record_tools`, so that nothing is decided twice over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, WithJsonSchema, create_model

from control_plane.commands import Command
from control_plane.data.collection import Collection, Verb
from control_plane.data.field import Field
from control_plane.data.filters import ComparisonOp, JunctionOp
from control_plane.data.measures import (
    GROUP_FIELDS_MAX,
    MEASURES_MAX,
    AggregateOp,
    fits,
    makes_groups,
)
from control_plane.data.models import input_model, output_model, patch_model
from control_plane.data.sort import has_order
from tools import record_schemas as schemas
from tools.record_tools import BY_VERB
from tools.registry import TOOLS
from tools.spec import Arguments, Result, ToolSpec

_HIDDEN: Final = "tenant_id"


def collection_tools(collection: Collection) -> tuple[ToolSpec, ...]:
    """One tool a verb that the collection offers, in the order of the verbs."""
    names = tool_names(collection)
    return tuple(
        _tool(collection, verb, name, tuple(names.values())) for verb, name in names.items()
    )


def tool_names(collection: Collection) -> dict[Verb, str]:
    """The name of each tool of the collection's own, in the order of the verbs.

    A collection that is called like an object of ours, as `invoice`, has `invoice_record_get` and so
    on: our own tools keep their names whatever a workspace declares.
    """
    verbs: list[Verb] = [verb for verb in BY_VERB if verb in collection.offered_verbs]
    plain: dict[Verb, str] = {verb: f"{collection.name}_{verb}" for verb in verbs}
    if TOOLS.keys().isdisjoint(plain.values()):
        return plain
    return {verb: f"{collection.name}_record_{verb}" for verb in verbs}


def _tool(collection: Collection, verb: Verb, name: str, siblings: tuple[str, ...]) -> ToolSpec:
    general = BY_VERB[verb]
    words = collection.name.replace("_", " ")
    return replace(
        general,
        name=name,
        title=f"{general.title}: {words}",
        description=f"{general.description} {collection.name}: {collection.description}",
        arguments=_arguments(collection, verb, name),
        result=_result(collection, verb, name),
        to_command=_in(collection.name, general.to_command),
        next_tools=tuple(one for one in ("tenant_get", *siblings) if one != name),
    )


def _in(collection: str, general: Callable[[Any], Command]) -> Callable[[Any], Command]:
    def to_command(arguments: Arguments) -> Command:
        return general(_Named(arguments, collection))

    return to_command


class _Named:
    """Arguments as the general tool has them: with the collection, and values as plain JSON."""

    def __init__(self, arguments: Arguments, collection: str) -> None:
        self._arguments = arguments
        self.collection = collection

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._arguments, name)
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", exclude_unset=True)
        return value


def _arguments(collection: Collection, verb: Verb, name: str) -> type[Arguments]:
    general = BY_VERB[verb].arguments
    own: dict[str, Any] = {
        field: (info.annotation, info)
        for field, info in general.model_fields.items()
        if field != "collection"
    }
    own |= _typed(collection, verb)
    return create_model(name, __base__=Arguments, __doc__=general.__doc__, **own)


def _typed(collection: Collection, verb: Verb) -> Mapping[str, Any]:
    if verb == "create":
        return {"values": (input_model(collection, handles=True), ...)}
    if verb == "update":
        return {"values": (patch_model(collection, handles=True), ...)}
    columns = {name: field for name, field in collection.columns.items() if name != _HIDDEN}
    names = tuple(columns)
    if verb in ("bulk_update", "bulk_delete"):
        found = (Annotated[schemas.SomeFilter, WithJsonSchema(_some_filter(names))], ...)
        changed = {"values": (patch_model(collection), ...)} if verb == "bulk_update" else {}
        return {"filter": found, **changed}
    filtered = (Annotated[dict[str, Any] | None, WithJsonSchema(_filter(names))], None)
    if verb == "aggregate":
        return {"filter": filtered, **_adding_up(columns, collection.handled)}
    if verb == "query":
        clear = {name: one for name, one in columns.items() if name not in collection.handled}
        ordered = tuple(name for name, field in clear.items() if has_order(field))
        return {
            "filter": filtered,
            "sort": (
                Annotated[schemas.Sort, WithJsonSchema(_optional_enum(_both_ways(ordered)))],
                None,
            ),
            "fields": (_fields(names), ()),
        }
    return {"fields": (_fields(names), ())} if verb == "get" else {}


def _adding_up(columns: Mapping[str, Field], handled: frozenset[str]) -> Mapping[str, Any]:
    clear = {name: field for name, field in columns.items() if name not in handled}
    figures: list[dict[str, Any]] = [{"properties": {"op": {"const": "count"}}, "required": ["op"]}]
    for op in get_args(AggregateOp):
        offered = columns if op == "count" else clear
        names = [name for name, field in offered.items() if fits(op, field)]
        shown = {"op": {"const": op}, "field": {"enum": names}}
        figures.append({"properties": shown, "required": ["op", "field"]})
    measure = [{"type": "object", "additionalProperties": False, **one} for one in figures]
    groups = [name for name, field in clear.items() if makes_groups(field)]
    measures = {
        "type": "array",
        "minItems": 1,
        "maxItems": MEASURES_MAX,
        "items": {"anyOf": measure},
        "description": "Named op or op_field.",
    }
    group_by = {"type": "array", "maxItems": GROUP_FIELDS_MAX, "items": {"enum": groups}}
    general = schemas.AggregateArguments.model_fields
    return {
        "measures": (Annotated[general["measures"].annotation, WithJsonSchema(measures)], ...),
        "group_by": (Annotated[general["group_by"].annotation, WithJsonSchema(group_by)], ()),
    }


def _fields(names: tuple[str, ...]) -> Any:
    shown = {"type": "array", "maxItems": len(names), "items": {"enum": list(names)}}
    return Annotated[schemas.Fields, WithJsonSchema(shown)]


def _both_ways(names: tuple[str, ...]) -> list[str]:
    return [way + name for name in names for way in ("", "-")]


def _optional_enum(values: list[str]) -> dict[str, Any]:
    return {"anyOf": [{"enum": values}, {"type": "null"}]}


def _filter(names: tuple[str, ...]) -> dict[str, Any]:
    return {"anyOf": [*_some_filter(names)["anyOf"], {"type": "null"}]}


def _some_filter(names: tuple[str, ...]) -> dict[str, Any]:
    """The tree's outermost node; what is under `args` is of the same form."""
    junction = {
        "type": "object",
        "properties": {
            "op": {"enum": list(get_args(JunctionOp))},
            "args": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        },
        "required": ["op", "args"],
        "additionalProperties": False,
    }
    comparison = {
        "type": "object",
        "properties": {
            "op": {"enum": list(get_args(ComparisonOp))},
            "field": {"enum": list(names)},
            "value": {},
        },
        "required": ["op", "field"],
        "additionalProperties": False,
    }
    return {"anyOf": [comparison, junction]}


def _result(collection: Collection, verb: Verb, name: str) -> type[Result]:
    general = BY_VERB[verb].result
    record = output_model(collection)
    own: dict[type[Result], dict[str, Any]] = {
        schemas.RecordsResult: {"records": (list[record], ...)},  # type: ignore[valid-type]
        schemas.RecordResult: {"record": (record, ...)},
    }
    if general not in own:
        return general
    return create_model(f"{name}_result", __base__=general, __doc__=general.__doc__, **own[general])
