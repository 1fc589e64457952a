"""The order of a page: one field, then the id, missing values last. Not the cursor that travels.

Each condition here is one that an index by tenant, field and id answers without reading the rows
before the page, whatever their number: a comparison of the pair (field, id), and the rows without
a value asked for on their own.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, literal, true, tuple_

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.values import Value
from control_plane.errors import BadInput

_UNSORTED_KINDS: Final = frozenset({"text", "boolean", "json", "reference"})


@dataclass(frozen=True, slots=True)
class Sort:
    """One field, ascending unless said; ties go by id the same way; rows without a value are last."""

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
    if sort.field in collection.handled:
        raise BadInput("sort.field", "leaves as a handle: it has no order")
    if not has_order(field):
        raise BadInput("sort.field", f"kind {field.kind} has no order")
    return sort


def has_order(field: Field) -> bool:
    """Whether a page may be sorted by such a field."""
    return field.kind not in _UNSORTED_KINDS


def order_by(sort: Sort, table: Table) -> Sequence[ColumnElement[Any]]:
    """The ORDER BY terms within a stretch; the same rows come in the same order in every engine."""
    names = ["id"] if sort.field == "id" else [sort.field, "id"]
    return [table.c[name].desc() if sort.descending else table.c[name].asc() for name in names]


def stretches(sort: Sort, table: Table, position: Position | None) -> Sequence[ColumnElement[bool]]:
    """The conditions of what lies behind a position, or of all, one after the other.

    First the rows with a value, then those without one: no engine's index has missing values last
    both ways.
    """
    column = table.c[sort.field]
    if not column.nullable:
        return [true() if position is None else _behind(position, sort, table)]
    if position is None:
        return [column.is_not(None), column.is_(None)]
    if position.value is None:
        return [and_(column.is_(None), _behind_id(position, sort, table))]
    return [_behind(position, sort, table), column.is_(None)]


def _behind(position: Position, sort: Sort, table: Table) -> ColumnElement[bool]:
    if sort.field == "id":
        return _behind_id(position, sort, table)
    column = table.c[sort.field]
    pair = tuple_(column, table.c.id)
    last = tuple_(literal(position.value, column.type), literal(position.id, table.c.id.type))
    return pair < last if sort.descending else pair > last


def _behind_id(position: Position, sort: Sort, table: Table) -> ColumnElement[bool]:
    return table.c.id < position.id if sort.descending else table.c.id > position.id
