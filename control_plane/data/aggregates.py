"""One tenant's rows added up: counted, summed, compared, by group. No row leaves, and not who may."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, false, func, select

from control_plane.data.collection import Collection
from control_plane.data.deadline import statement_deadline
from control_plane.data.field import Field
from control_plane.data.filters import Tree, compile_filter
from control_plane.data.measures import Measure
from control_plane.data.rows import of_tenant
from control_plane.data.values import INTEGER_MAX, to_json
from control_plane.domain.canonical import Json
from control_plane.errors import Refused

_AVERAGE_PLACES: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the rows. Groups of fewer than `rows_min` rows are left out."""

    measures: tuple[Measure, ...]
    group_by: tuple[str, ...]
    rows_min: int
    limit: int


def aggregate(
    connection: Connection,
    collection: Collection,
    table: Table,
    tenant: str,
    predicate: Tree | None,
    question: Question,
    *,
    any_row: bool,
    deadline_ms: int,
) -> tuple[list[dict[str, Json]], bool]:
    """The groups in their order, and whether there are more; one statement, within `deadline_ms`.

    Without a field to group by all rows are one group, also when there is none. `any_row` False
    asks as much of no row. Raises Failed (`statement_deadline`), Refused (`sum_too_large`).
    """
    by = [table.c[name] for name in question.group_by]
    conditions = [of_tenant(table, tenant)]
    if predicate is not None:
        conditions.append(compile_filter(predicate, table))
    if not any_row:
        conditions.append(false())
    figures = [one for measure in question.measures for one in _figures(measure, table)]
    query = select(*by, func.count(), *figures).where(and_(*conditions))
    if by:
        ordered = [term for one in by for term in (one.is_(None), one)]
        query = query.group_by(*by).having(func.count() >= question.rows_min)
        query = query.order_by(*ordered).limit(question.limit + 1)
    with statement_deadline(connection, deadline_ms):
        found = [tuple(row) for row in connection.execute(query)]
    kept = [row for row in found if row[len(by)] >= question.rows_min]
    groups = [_group(row, question, collection) for row in kept[: question.limit]]
    return groups, len(kept) > question.limit


def _figures(measure: Measure, table: Table) -> list[ColumnElement[Any]]:
    if measure.field is None:
        return []
    column = table.c[measure.field]
    match measure.op:
        case "count":
            return [func.count(column)]
        case "min":
            return [func.min(column, type_=column.type)]
        case "max":
            return [func.max(column, type_=column.type)]
        case "sum":
            return [func.sum(column, type_=column.type)]
        case "avg":
            # Of the exact sum: an engine's own average is in another type on each.
            return [func.sum(column, type_=column.type), func.count(column)]


def _group(row: tuple[Any, ...], question: Question, collection: Collection) -> dict[str, Json]:
    by = {name: to_json(row[place]) for place, name in enumerate(question.group_by)}
    rest = iter(row[len(by) :])
    rows = int(next(rest))
    values: dict[str, Json] = {}
    for measure in question.measures:
        if measure.field is None:
            values[measure.name] = rows
        elif measure.op == "avg":
            values[measure.name] = _average(next(rest), next(rest))
        else:
            values[measure.name] = _value(measure, next(rest), collection.columns[measure.field])
    return {"by": by, "rows": rows, "values": values}


def _average(total: Any, count: Any) -> str | None:
    if not count:
        return None
    mean = Decimal(total) / Decimal(count)
    return str(mean.quantize(_AVERAGE_PLACES, rounding=ROUND_HALF_EVEN))


def _value(measure: Measure, found: Any, field: Field) -> Json:
    if found is None or measure.op == "count":
        return found if found is None else int(found)
    if measure.op != "sum" or field.kind == "decimal":
        return to_json(found)
    # A sum of whole numbers comes as one of another type from some engines.
    total = int(found)
    if abs(total) > INTEGER_MAX:
        raise Refused("A sum is larger than every reader takes exactly.", code="sum_too_large")
    return total
