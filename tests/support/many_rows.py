"""A tenant's table filled with as many rows as are wanted, by one statement. Past the write protocol; no test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    String,
    Table,
    cast,
    func,
    insert,
    literal,
    select,
)

Number: TypeAlias = ColumnElement[int]
Values: TypeAlias = Callable[[Number], Mapping[str, Any]]

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
_ID_HEAD: Final = "00000000-0000-4000-8000-"
_ID_DIGITS: Final = 12


def fill(
    connection: Connection, table: Table, tenant: str, rows: int, values: Values, *, first: int = 1
) -> None:
    """Add the rows `first` to `rows`; `values` gives the declared fields of row n."""
    start = select(literal(first, BigInteger).label("n")).cte("numbers", recursive=True)
    numbers = start.union_all(select(start.c.n + 1).where(start.c.n < rows))
    n = numbers.c.n
    filled = {
        "tenant_id": literal(tenant, String),
        "id": _id(n),
        "version": literal(1, Integer),
        "created_at": literal(NOW, table.c.created_at.type),
        **values(n),
    }
    connection.execute(insert(table).from_select(list(filled), select(*filled.values())))


def text_of(head: str, n: Number) -> ColumnElement[str]:
    """A text that ends in the number."""
    return literal(head, String).concat(cast(n, String))


def _id(n: Number) -> ColumnElement[str]:
    padded = literal("0" * _ID_DIGITS, String).concat(cast(n, String))
    return literal(_ID_HEAD, String).concat(func.substr(padded, func.length(padded) - 11))
