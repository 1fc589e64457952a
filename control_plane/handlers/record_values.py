"""The values of a record that a caller sends or a row keeps, read strictly. No row, and no right to a field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ValidationError

from control_plane.data.collection import Collection
from control_plane.data.field import IMPLICIT_FIELDS
from control_plane.data.models import input_model, patch_model
from control_plane.data.rows import Row
from control_plane.data.values import Value, ValueReader
from control_plane.domain.canonical import Json
from control_plane.errors import BadInput, Refused


def new_values(collection: Collection, values: Mapping[str, Json]) -> Row:
    """A whole new row, with its defaults. Raises BadInput naming the field and the rule."""
    parsed = _parsed(input_model(collection), values)
    return {name: getattr(parsed, name) for name in type(parsed).model_fields}


def changed_values(collection: Collection, values: Mapping[str, Json]) -> Row:
    """The fields that are named, and no other. Raises BadInput."""
    parsed = _parsed(patch_model(collection), values)
    return {name: getattr(parsed, name) for name in sorted(parsed.model_fields_set)}


def kept_values(collection: Collection, image: Mapping[str, Json]) -> Row:
    """Values that a row has had, out of an image of it; what is computed is left out.

    Refused (`undo_gone`) where the collection has changed since, so that they no longer fit.
    """
    try:
        return {
            name: None if value is None else ValueReader(collection.columns[name]).read(value)
            for name, value in image.items()
            if name in collection.fields and name not in collection.computed
        }
    except ValueError:
        raise Refused(
            "What the row was no longer fits its collection.", code="undo_gone", rule="undo"
        ) from None


def kept_implicit(image: Mapping[str, Json], name: str) -> Value:
    """One of the fields that every row has, out of an image of it."""
    return ValueReader(IMPLICIT_FIELDS[name]).read(image[name])


def require_known(named: Iterable[str], visible: frozenset[str]) -> None:
    """Raise BadInput for a field that the caller may not see: it is as unknown as one that is not there."""
    for name in named:
        if name not in visible:
            raise BadInput(f"values.{name[:60]}", "unknown field")


def _parsed(model: type[BaseModel], values: Mapping[str, Json]) -> BaseModel:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = "".join(f".{str(part)[:60]}" for part in first["loc"])
        raise BadInput(f"values{field}", str(first["type"]).replace("_", " ")) from None
