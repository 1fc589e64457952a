"""What a narrower declaration asks of rows that stand already. Not the change itself.

Rows that do not fit are counted, never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, func, or_, select

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.values import Value
from control_plane.errors import Refused

_SAID: Final = {
    "not_null": "no value",
    "max_length": "too many characters",
    "values": "a value that is not declared any more",
    "precision": "too many digits",
    "unique": "a value that the tenant has more than once",
}


@dataclass(frozen=True, slots=True)
class Demand:
    """A rule that every row of a collection must keep: one of those above."""

    collection: str
    field: str
    rule: str
    declared: Field


def demands(source: Sequence[Collection], target: Sequence[Collection]) -> Iterator[Demand]:
    """What `target` asks of rows that were written under `source`, tenants' own rows alone."""
    wider = {one.name: one for one in source}
    for collection in target:
        known = wider.get(collection.name)
        if known is None or collection.reference:
            continue
        for name, field in collection.fields.items():
            if name in known.fields:
                for rule in _narrowed(known.fields[name], field):
                    yield Demand(collection.name, name, rule, field)


def _narrowed(wide: Field, field: Field) -> Iterator[str]:
    if wide.nullable and not field.nullable and field.kind != "computed":
        yield "not_null"
    if field.kind in {"string", "text"} and wide.length_max > field.length_max:
        yield "max_length"
    if set(wide.values or ()) - set(field.values or ()):
        yield "values"
    if (wide.precision or 0) > (field.precision or 0):
        yield "precision"
    if field.unique and not wide.unique:
        yield "unique"


def is_broken(demand: Demand, value: Value | None) -> bool:
    """Whether one row breaks the rule; a value that is there more than once no row tells alone."""
    if value is None:
        return demand.rule == "not_null"
    if demand.rule == "max_length":
        return isinstance(value, str) and len(value) > demand.declared.length_max
    if demand.rule == "values":
        return value not in (demand.declared.values or ())
    if demand.rule == "precision":
        return isinstance(value, Decimal) and abs(value) > _most(demand.declared)
    return False


def misfits(connection: Connection, table: Table, demand: Demand) -> tuple[int, int]:
    """How many rows break the rule, and of how many tenants, among all that the connection sees."""
    rows, tenants = connection.execute(_misfits(table, demand)).one()
    return int(rows), int(tenants)


def require_none(demand: Demand, rows: int, tenants: int) -> None:
    """Raise Refused (`rows_do_not_fit`; `rule`; `fact`: collection and field) where there are any."""
    if rows:
        name = f"{demand.collection}.{demand.field}"
        counted = f"{_counted(rows, 'row')} of {_counted(tenants, 'tenant')}"
        said = f"{name}: {_SAID[demand.rule]} in {counted}."
        raise Refused(said, code="rows_do_not_fit", rule=demand.rule, fact=name)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _misfits(table: Table, demand: Demand) -> Select[int, int]:
    column, field = table.c[demand.field], demand.declared
    if demand.rule == "unique":
        return _repeated(table, column)
    broken: dict[str, ColumnElement[bool]] = {"not_null": column.is_(None)}
    if demand.rule == "max_length":
        broken["max_length"] = func.length(column) > field.length_max
    if demand.rule == "values":
        broken["values"] = column.not_in(field.values or ())
    if demand.rule == "precision":
        most = _most(field)
        broken["precision"] = or_(column < -most, column > most)
    tenants = func.count(table.c.tenant_id.distinct())
    return select(func.count(), tenants).select_from(table).where(broken[demand.rule])


def _most(field: Field) -> Decimal:
    return Decimal(10 ** (field.precision or 0) - 1).scaleb(-(field.scale or 0))


def _repeated(table: Table, column: ColumnElement[Any]) -> Select[int, int]:
    many = (
        select(table.c.tenant_id, func.count().label("rows"))
        .where(column.is_not(None))
        .group_by(table.c.tenant_id, column)
        .having(func.count() > 1)
        .subquery()
    )
    return select(func.coalesce(func.sum(many.c.rows), 0), func.count(many.c.tenant_id.distinct()))
