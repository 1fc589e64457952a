"""The policy's schema of a collection's rows, made from its declaration. No row, and no fact class: fields differ."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping
from typing import Any, Final

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.values import ValueReader, to_json
from control_plane.errors import BadInput

# What a policy may name of a row: values that a double or a text holds exactly.
_TYPES: Final[Mapping[str, str]] = {
    "string": "string",
    "integer": "integer",
    "money": "integer",
    "boolean": "boolean",
    "date": "string",
    "timestamp": "string",
    "uuid": "string",
    "enum": "string",
    "reference": "string",
}
DECIDABLE_KINDS: Final = frozenset(_TYPES)
# The one form in which a policy's text is equal to a value and ordered as it is.
_FORMS: Final[Mapping[str, str]] = {
    "date": "YYYY-MM-DD, a day that exists",
    "timestamp": "YYYY-MM-DDThh:mm:ss.ffffffZ, in UTC and with six decimals",
    "uuid": "lower case, with hyphens",
    "reference": "lower case, with hyphens",
}


def row_schema(collection: Collection, named: AnyCollection[str]) -> dict[str, Any]:
    """JSON Schema of the attributes that the rows' policy names: closed, every one required.

    Raises BadInput for a name that is no field of the collection, or one of a kind that no
    policy can decide on.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": sorted(named),
        "properties": {name: _schema(collection, name) for name in sorted(named)},
    }


def is_exact(collection: Collection, named: AnyCollection[str]) -> bool:
    """Whether the policy's filter selects exactly the rows that it allows.

    It does where no field that it names can be missing: a condition over a missing value errs, and
    then denies, which no filter says.
    """
    return not any(collection.fields[name].nullable for name in named)


def wanted_form(field: Field, literal: str) -> str | None:
    """How a policy has to write a value of the field, where `literal` is no such text.

    The engine compares text: in another form the same instant, day or id is another one to it. None
    where the literal is as it must be, and for kinds that have more than one form of text, or none.
    """
    form = _FORMS.get(field.kind)
    if form is None:
        return None
    try:
        kept = to_json(ValueReader(field).read(literal))
    except ValueError:
        return form
    return None if kept == literal else form


def row_schemas(
    collections: Mapping[str, Collection], rules: Mapping[str, AnyCollection[str]]
) -> dict[str, dict[str, Any]]:
    """The schema files of a bundle, by path: one a collection whose rows have a policy."""
    files: dict[str, dict[str, Any]] = {}
    for name, named in sorted(rules.items()):
        collection = collections.get(name)
        if collection is None:
            raise BadInput(f"policies: rows_{name}", "must name a collection that is declared")
        files[f"_schemas/rows_{name}.json"] = row_schema(collection, named)
    return files


def _schema(collection: Collection, name: str) -> dict[str, Any]:
    field = collection.fields.get(name)
    if field is None or field.kind not in _TYPES:
        kinds = ", ".join(sorted(_TYPES))
        raise BadInput(
            f"policies: rows_{collection.name}: {name}",
            f"must be a declared field of one of the kinds {kinds}",
        )
    return {"type": _nullable(field)}


def _nullable(field: Field) -> str | list[str]:
    kind = _TYPES[field.kind]
    return [kind, "null"] if field.nullable else kind
