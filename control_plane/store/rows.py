"""Rows to records and back. Knows tables only as arguments; no rule of the business stands here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    insert,
    select,
    update,
)

M = TypeVar("M", bound=BaseModel)

LIST_ROWS_MAX = 1000


def put(connection: Connection, table: Table, record: BaseModel) -> None:
    """Insert one record."""
    connection.execute(insert(table), record.model_dump(mode="json"))


def change(
    connection: Connection, table: Table, where: ColumnElement[bool], **values: object
) -> int:
    """Update rows; returns how many matched, so that the caller can assert what it decided on."""
    return connection.execute(update(table).where(where).values(**values)).rowcount


def first(
    connection: Connection, table: Table, model: type[M], where: ColumnElement[bool]
) -> M | None:
    """The one record that matches, or None."""
    row = connection.execute(select(table).where(where).limit(1)).mappings().first()
    return None if row is None else parse(model, dict(row))


def by(connection: Connection, column: Column[Any], model: type[M], value: object) -> M | None:
    """The record whose ``column`` has a value, or None; a statement for each column, made once.

    To build a statement anew costs more than to run it.
    """
    row = connection.execute(_by(column), {"value": value}).mappings().first()
    return None if row is None else parse(model, dict(row))


@cache
def _by(column: Column[Any]) -> Select[Any]:
    return select(column.table).where(column == bindparam("value")).limit(1)


def every(
    connection: Connection,
    table: Table,
    model: type[M],
    where: ColumnElement[bool],
    *,
    order_by: ColumnElement[object] | None = None,
    limit: int = LIST_ROWS_MAX,
) -> list[M]:
    """The records that match, at most ``limit``."""
    statement = select(table).where(where).limit(limit)
    if order_by is not None:
        statement = statement.order_by(order_by)
    return [parse(model, dict(row)) for row in connection.execute(statement).mappings()]


def parse(model: type[M], row: Mapping[str, object]) -> M:
    """A record from a row: through JSON, because a strict model takes a list for a tuple only there."""
    kept = {name: value for name, value in row.items() if name in model.model_fields}
    return model.model_validate_json(json.dumps(kept))
