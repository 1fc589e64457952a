"""The order of a page: one field, then the id, missing values last. Not the cursor that travels."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, false, or_

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.values import Value
from control_plane.errors import BadInput

_UNSORTED_KINDS: Final = frozenset({"text", "boolean", "json", "reference"})


@dataclass(frozen=True, slots=True)
class Sort:
    """One field, ascending unless said; ties go by ascending id; rows without a value come last."""

    field: str = "id"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page: its value of the sort field (None: it has none) and its id."""

    value: Value | None
    id: str


def check_sort(sort: Sort, collection: Collection, readable_fields: AnyCollection[str]) -> Sort:
    """The sort, if the caller may read its field: an order tells as much as a value.

    Raises BadInput; a field that may not be read answers what an unknown one does.
    """
    field = collection.columns.get(sort.field)
    if field is None or sort.field not in readable_fields:
        raise BadInput("sort.field", "unknown field")
    if not has_order(field):
        raise BadInput("sort.field", f"kind {field.kind} has no order")
    return sort


def has_order(field: Field) -> bool:
    """Whether a page may be sorted by such a field."""
    return field.kind not in _UNSORTED_KINDS


def order_by(sort: Sort, table: Table) -> Sequence[ColumnElement[Any]]:
    """The ORDER BY terms; the same rows come in the same order in every engine."""
    if sort.field == "id":
        return [table.c.id.desc() if sort.descending else table.c.id.asc()]
    column = table.c[sort.field]
    ordered = [column.desc() if sort.descending else column.asc(), table.c.id.asc()]
    return [column.is_(None).asc(), *ordered] if column.nullable else ordered


def after(position: Position, sort: Sort, table: Table) -> ColumnElement[bool]:
    """The condition of being behind a position in that order."""
    if sort.field == "id":
        return table.c.id < position.id if sort.descending else table.c.id > position.id
    column = table.c[sort.field]
    if position.value is None:
        return and_(column.is_(None), table.c.id > position.id)
    beyond = column < position.value if sort.descending else column > position.value
    tie = and_(column == position.value, table.c.id > position.id)
    return or_(beyond, tie, column.is_(None) if column.nullable else false())
