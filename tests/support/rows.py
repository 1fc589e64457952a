"""Rows of the sample collection `contacts`, for tests of databases. Holds no test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Table, func, select

from control_plane.data.applied import apply_once
from control_plane.data.rows import insert_row

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
VALUES: Final[dict[str, str | int]] = {
    "full_name": "x",
    "email": "a@b",
    "status": "lead",
    "balance": 0,
}


def row_id(number: int) -> str:
    """An id in the form that the kind `uuid` has."""
    return f"00000000-0000-4000-8000-{number:012d}"


def add(connection: Connection, table: Table, tenant: str, number: int = 1) -> None:
    """One row, outside of the write protocol."""
    insert_row(connection, table, tenant, row_id(number), VALUES, now=NOW)


def apply(connection: Connection, table: Table, tenant: str, epoch: int = 1) -> bool:
    """One row by the write protocol, as the call `call`."""
    return apply_once(
        connection, tenant, epoch, "call", "d", lambda inside: add(inside, table, tenant), now=NOW
    )


def count(connection: Connection, table: Table) -> int:
    """All rows that the connection sees."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
