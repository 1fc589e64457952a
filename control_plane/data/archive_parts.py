"""The tables of a tenant's archive: in which order, with which columns, each row strictly read. Not the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, cast

from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from sqlalchemy import Table
from typing_extensions import TypedDict

from control_plane.data.collection import Collection
from control_plane.data.field import LENGTH_MAX, Field
from control_plane.data.tables import APPLIED, UNDO, collection_table
from control_plane.data.values import Value, value_type
from control_plane.domain.canonical import Json, canonical

PAGE_ROWS: Final = 200
OWNER: Final = "tenant_id"
_PROOFS: Final[Mapping[str, Field]] = {
    "call_id": Field(kind="string", max_length=64),
    "digest": Field(kind="string", max_length=64),
    "applied_at": Field(kind="timestamp"),
}
_IMAGES: Final[Mapping[str, Field]] = {
    "call_id": Field(kind="string", max_length=64),
    "images": Field(kind="json"),
    "kept_at": Field(kind="timestamp"),
}
# Beside the records: none of it is counted as one.
BESIDE: Final = frozenset({APPLIED.name, UNDO.name})


def _read_images(value: object) -> Value:
    """The images of a run's rows, whose values are each within the bound of its own field."""
    if not isinstance(value, list):
        raise ValueError("must be a list of images")  # noqa: TRY004 - as every reader does
    images = cast("list[Json]", value)
    try:
        canonical(images)
    except TypeError:
        raise ValueError("must be JSON whose numbers are whole") from None
    return images


_IMAGES_TYPE: Final[Any] = Annotated[Any, BeforeValidator(_read_images)]


@dataclass(frozen=True)
class Part:
    """A table of the archive: its columns as they are archived, in the order of canonical JSON."""

    table: Table
    fields: Mapping[str, Field]
    page_rows: int = PAGE_ROWS
    images: str | None = None
    """The column whose values are rows of other tables, if it is there."""

    def read(self, values: Mapping[str, object]) -> dict[str, Value | None]:
        """A row as JSON says it, each column there and no other. Raises ValueError."""
        return self._reader.validate_python((self.table.name, values))[1]

    def read_line(self, line: bytes) -> dict[str, Value | None]:
        """The row of a line of this table's. Raises ValueError."""
        return self._reader.validate_json(line)[1]

    @cached_property
    def _reader(self) -> TypeAdapter[tuple[str, dict[str, Value | None]]]:
        # One for the whole row: a call for each value would be most of the time.
        columns = {name: self._type(name, one) for name, one in self.fields.items()}
        row: Any = cast("Any", TypedDict)("Row", columns)
        row.__pydantic_config__ = ConfigDict(extra="forbid")
        pair: Any = tuple.__class_getitem__((str, row))
        return TypeAdapter(pair)

    def _type(self, name: str, one: Field) -> Any:
        kind = _IMAGES_TYPE if name == self.images else value_type(_as_it_may_stand(one))
        return kind | None if one.nullable else kind


def parts_of(collections: Sequence[Collection]) -> dict[str, Part]:
    """Every table of an archive, in its order: the records', then what stands beside them."""
    parts = {one.name: _part(collection_table(one), _kept(one)) for one in _in_order(collections)}
    parts[APPLIED.name] = _part(APPLIED, _PROOFS)
    parts[UNDO.name] = Part(UNDO, _IMAGES, 1, "images")
    return parts


def _in_order(collections: Sequence[Collection]) -> list[Collection]:
    """The tenant's own collections, those referred to before those that refer; else by name.

    Of those that go round, the first by name goes first.
    """
    left = {one.name: one for one in collections if not one.reference}
    ordered: list[Collection] = []
    while left:
        name = next((one for one in sorted(left) if _refers_to(left[one]).isdisjoint(left)), None)
        ordered.append(left.pop(min(left) if name is None else name))
    return ordered


def _refers_to(collection: Collection) -> set[str]:
    return {one.collection for one in collection.fields.values() if one.collection} - {
        collection.name
    }


def _kept(collection: Collection) -> Mapping[str, Field]:
    # What is computed is made again from what it is made of.
    computed = collection.computed
    return {name: field for name, field in collection.columns.items() if name not in computed}


def _part(table: Table, columns: Mapping[str, Field]) -> Part:
    # Names are of a to z, digits and _, so that this is the order of canonical JSON.
    return Part(table, {name: columns[name] for name in sorted(columns) if name != OWNER})


def _as_it_may_stand(one: Field) -> Field:
    # A pattern binds what is given, not what stood before there was one; and where this bound has
    # become a narrower one, rows that stood have been left as they were.
    changed: dict[str, object] = {"pattern": None}
    if one.kind == "json":
        changed["max_length"] = LENGTH_MAX[one.kind]
    return one.model_copy(update=changed)
