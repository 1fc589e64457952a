"""The tables of a tenant's archive: in which order, with which columns, each value strictly read. Not the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from sqlalchemy import Table

from control_plane.data.collection import Collection
from control_plane.data.field import LENGTH_MAX, Field
from control_plane.data.tables import APPLIED, UNDO, collection_table
from control_plane.data.values import Value, ValueReader
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


class _Reader(Protocol):
    def read(self, value: object) -> Value: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the archive: its columns as they are archived, each with its reader."""

    table: Table
    fields: Mapping[str, Field]
    readers: Mapping[str, _Reader]
    page_rows: int = PAGE_ROWS


class _ImagesReader:
    """Reads the images of a run's rows, whose values are each within the bound of its own field."""

    def read(self, value: object) -> Value:
        if not isinstance(value, list):
            raise ValueError("must be a list of images")  # noqa: TRY004 - as every reader does
        images = cast("list[Json]", value)
        try:
            canonical(images)
        except TypeError:
            raise ValueError("must be JSON whose numbers are whole") from None
        return images


def parts_of(collections: Sequence[Collection]) -> dict[str, Part]:
    """Every table of an archive, in its order: the records', then what stands beside them."""
    parts = {one.name: _part(collection_table(one), _kept(one)) for one in _in_order(collections)}
    parts[APPLIED.name] = _part(APPLIED, _PROOFS)
    parts[UNDO.name] = Part(UNDO, _IMAGES, _readers(_IMAGES) | {"images": _ImagesReader()}, 1)
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
    fields = {name: field for name, field in columns.items() if name != OWNER}
    return Part(table, fields, _readers(fields))


def _readers(fields: Mapping[str, Field]) -> dict[str, _Reader]:
    return {name: ValueReader(_as_it_may_stand(field)) for name, field in fields.items()}


def _as_it_may_stand(field: Field) -> Field:
    # Where this bound has become a narrower one, rows that stood have been left as they were.
    if field.kind == "json":
        return field.model_copy(update={"max_length": LENGTH_MAX[field.kind]})
    return field


def read_value(part: Part, column: str, value: object) -> Value | None:
    """A value of a column as its JSON says it. Raises ValueError."""
    if value is None and part.fields[column].nullable:
        return None
    return part.readers[column].read(value)
