"""The columns, constraints and indexes of a collection's table. Not the table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from operator import add, mul, sub
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    UniqueConstraint,
    func,
    literal,
)

from control_plane.data.collection import Collection
from control_plane.data.field import Field, Formula
from control_plane.data.table_types import column_type
from control_plane.data.values import INTEGER_MAX
from control_plane.domain.canonical import canonical
from control_plane.errors import BadInput

_NAME_BYTES_MAX: Final = 63
_HASH_CHARS: Final = 10
_FOLDED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "sum": add,
    "difference": sub,
    "product": mul,
}


def columns(collection: Collection) -> list[Column[Any]]:
    """Every column, the implicit ones first."""
    made: dict[str, Column[Any]] = {}
    for name, field in collection.columns.items():
        if name not in collection.computed:
            made[name] = Column(name, column_type(field), nullable=field.nullable)
    for name, field in collection.fields.items():
        if field.formula is not None:
            result = collection.columns[name]
            stored = Computed(_expression(field.formula, made), persisted=True)
            made[name] = Column(name, column_type(result), stored, nullable=result.nullable)
    return [made[name] for name in collection.columns]


def _expression(formula: Formula, made: Mapping[str, Column[Any]]) -> ColumnElement[Any]:
    parts: list[ColumnElement[Any]] = [made[name] for name in formula.fields]
    if formula.op != "concat":
        return reduce(_FOLDED[formula.op], parts)
    between = formula.separator or ""

    def join(left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[Any]:
        return (left.concat(literal(between)) if between else left).concat(right)

    return reduce(join, parts)


def checks(collection: Collection, made: Sequence[Column[Any]]) -> Iterator[CheckConstraint]:
    """What a value must be, beyond its type."""
    by_name = {column.name: column for column in made}
    for name in collection.fields:
        field, column = collection.columns[name], by_name[name]
        if field.values is not None:
            yield CheckConstraint(column.in_(field.values))
        elif field.kind in {"string", "text"}:
            yield CheckConstraint(func.length(column) <= field.length_max)
        elif field.kind == "decimal":
            most = _decimal_max(field)
            yield CheckConstraint(column.between(-most, most))
        elif name in collection.computed:
            # Nothing else stands before what a formula makes too large.
            yield CheckConstraint(column.between(-INTEGER_MAX, INTEGER_MAX))


def _decimal_max(field: Field) -> Decimal:
    return Decimal(10 ** (field.precision or 0) - 1).scaleb(-(field.scale or 0))


def keys(collection: Collection) -> Iterator[PrimaryKeyConstraint | UniqueConstraint]:
    """The primary one, by tenant first, and one for each field whose values a tenant has once."""
    yield PrimaryKeyConstraint(*(("id",) if collection.reference else ("tenant_id", "id")))
    for name, field in collection.fields.items():
        if field.unique:
            yield UniqueConstraint(
                "tenant_id", name, name=part_name("key", collection.name, [name])
            )


def indexes(collection: Collection, made: Sequence[Column[Any]]) -> Iterator[Index]:
    """The declared ones, and one for each reference that no other index or key begins with."""
    by_name = {column.name: column for column in made}
    covered = {index[0] for index in collection.indexes}
    wanted = [
        (name,)
        for name, field in collection.fields.items()
        # A row that is deleted, or added, is looked up among those that refer to it.
        if field.kind == "reference" and not field.unique and name not in covered
    ]
    for fields in (*collection.indexes, *wanted):
        parts = [by_name[name] for name in ("tenant_id", *fields, "id")]
        yield Index(part_name("index", collection.name, fields), *parts)


def foreign_keys(
    collection: Collection, others: Mapping[str, Collection]
) -> Iterator[ForeignKeyConstraint]:
    """One for each reference to rows of the tenant's own; declared rows lie elsewhere.

    Raises BadInput where the collection that it names is not among the others.
    """
    for name, field in collection.fields.items():
        if field.collection is None:
            continue
        target = others.get(field.collection)
        if target is None:
            raise BadInput(f"{collection.name}.{name}", "must refer to a declared collection")
        if not target.reference:
            # Not ON DELETE RESTRICT, which no engine defers: rows that refer to each other could
            # not be deleted together. Without it a row that is still referred to stays as well.
            yield ForeignKeyConstraint(
                ["tenant_id", name],
                [f"{target.name}.tenant_id", f"{target.name}.id"],
                name=part_name("reference", collection.name, [name]),
                deferrable=True,
                initially="DEFERRED",
                # Added when all tables are there, where the engine can: references may go round.
                use_alter=True,
            )


def part_name(what: str, collection: str, fields: Sequence[str]) -> str:
    """The name of a constraint or index: the same each time, of no other part, 63 bytes at most."""
    named = canonical([what, collection, list(fields)])
    suffix = "_" + hashlib.sha256(named).hexdigest()[:_HASH_CHARS]
    # No collection's name begins so: a table and an index share their names on SQLite.
    readable = "_".join(("paybill", what, collection, *fields))
    return readable[: _NAME_BYTES_MAX - len(suffix)] + suffix
