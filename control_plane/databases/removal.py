"""The removal of one tenant's rows from a shared database, step by step. Not of a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    MetaData,
    Table,
    delete,
    func,
    select,
    tuple_,
)
from sqlalchemy.schema import (
    sort_tables_and_constraints,  # pyright: ignore[reportUnknownVariableType] - it has no types
)

from control_plane.data.tables import FENCE
from control_plane.errors import Failed

ROWS_PER_STEP: Final = 5_000
_STEPS_MAX: Final = 1_000_000


def remove_tenant(
    transaction: Callable[[], AbstractContextManager[Connection]], tenant: str
) -> None:
    """Delete all rows of a closed tenant, a step a transaction: others wait for one step only.

    Rows that may refer to each other in a circle go in one step: none of it can stand without the rest.
    The fence row goes last, in the transaction that has counted nothing left: a removal that was
    killed is still to be seen, and starts again. Raises Failed (`rows_remain`).
    """
    for _ in range(_STEPS_MAX):
        with transaction() as connection:
            tables, is_circular = _tables_of_tenants(connection)
            if is_circular:
                for table in tables:
                    connection.execute(delete(table).where(_of(table, tenant)))
            if not any(_delete_some(connection, table, tenant) for table in tables):
                _prove_empty(connection, tables, tenant)
                connection.execute(delete(FENCE).where(FENCE.c.tenant_id == tenant))
                return
    raise Failed("The tenant's rows could not all be removed.", retryable=True, code="rows_remain")


def _tables_of_tenants(connection: Connection) -> tuple[list[Table], bool]:
    """The tables, those that refer before those referred to, and whether any go round."""
    # As they are there, not as a catalog declares them: nothing may be left behind.
    metadata = MetaData()
    metadata.reflect(connection)
    every = metadata.tables.values()
    ordered: list[tuple[Table | None, Any]] = sort_tables_and_constraints(every)  # type: ignore[no-untyped-call]
    found = [table for table, _ in ordered if table is not None]
    is_circular = any(keys for table, keys in ordered if table is None) or any(
        key.referred_table is table for table in found for key in table.foreign_key_constraints
    )
    own = [one for one in found[::-1] if "tenant_id" in one.c and one.name != FENCE.name]
    return own, is_circular


def _delete_some(connection: Connection, table: Table, tenant: str) -> int:
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(_of(table, tenant)).limit(ROWS_PER_STEP)
    return connection.execute(delete(table).where(_of(table, tenant), key.in_(some))).rowcount


def _prove_empty(connection: Connection, tables: list[Table], tenant: str) -> None:
    for table in tables:
        count = select(func.count()).select_from(table).where(_of(table, tenant))
        if connection.execute(count).scalar_one() != 0:
            raise Failed("The tenant's rows could not all be removed.", code="rows_remain")


def _of(table: Table, tenant: str) -> ColumnElement[bool]:
    return table.c.tenant_id == tenant
