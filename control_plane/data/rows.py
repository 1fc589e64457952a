"""One tenant's rows in a collection's table: a page, one row, and its changes. Not who may.

Every statement here is ANDed with the tenant, but for reference rows, which are the same for all and
nobody's to change; beside these only `aggregates` reads the tables, under the same condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, select, true, update

from control_plane.data.deadline import statement_deadline
from control_plane.data.field import IMPLICIT_FIELDS
from control_plane.data.filters import Tree, compile_filter
from control_plane.data.index_use import found_by_index
from control_plane.data.sort import Position, Sort, order_by, stretches
from control_plane.data.tables import REFERENCE_SCHEMA
from control_plane.data.values import Value
from control_plane.errors import BadInput, NotFound, Refused

Row: TypeAlias = Mapping[str, Value | None]

PAGE_ROWS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order, and where the next page starts (None: there is none)."""

    rows: tuple[Row, ...]
    next: Position | None


def query_page(
    connection: Connection,
    table: Table,
    tenant: str,
    predicate: Tree | None,
    sort: Sort,
    limit: int,
    position: Position | None,
    *,
    deadline_ms: int,
) -> Page:
    """At most `limit` rows of the tenant behind `position`, within `deadline_ms`.

    Raises BadInput for a limit out of bounds, Failed (`statement_deadline`).
    """
    if not 1 <= limit <= PAGE_ROWS_MAX:
        raise BadInput("limit", f"must be 1 to {PAGE_ROWS_MAX}")
    conditions = [of_tenant(table, tenant)]
    if predicate is not None:
        conditions.append(compile_filter(predicate, table))
    query = select(table).where(*conditions).order_by(*order_by(sort, table))
    found: list[dict[str, Value | None]] = []
    in_order = not found_by_index(predicate, table)
    with statement_deadline(connection, deadline_ms, in_order=in_order):
        for stretch in stretches(sort, table, position):
            # One row more than asked tells whether there is a next page.
            part = query.where(stretch).limit(limit + 1 - len(found))
            found += [dict(row) for row in connection.execute(part).mappings()]
            if len(found) > limit:
                break
    rows = tuple(found[:limit])
    if len(found) <= limit:
        return Page(rows, None)
    return Page(rows, Position(rows[-1][sort.field], str(rows[-1]["id"])))


def get_row(connection: Connection, table: Table, tenant: str, row_id: str) -> Row | None:
    """The tenant's row of that id, or None: another tenant's is as absent as one that never was."""
    found = connection.execute(select(table).where(_one(table, tenant, row_id))).mappings().first()
    return None if found is None else dict(found)


def insert_row(
    connection: Connection, table: Table, tenant: str, row_id: str, values: Row, *, now: datetime
) -> None:
    """Add a row at version 1. An id that is taken breaks the key: the engine says Refused."""
    _only_own(table)
    _only_declared(table, values)
    implicit = {"tenant_id": tenant, "id": row_id, "version": 1, "created_at": now}
    connection.execute(insert(table), {**values, **implicit})


def restore_row(
    connection: Connection, table: Table, tenant: str, row_id: str, values: Row, *, version: int
) -> None:
    """Put back a row that was removed, as it was, at `version`: no older reading of it counts.

    `values` hold `created_at` beside the declared fields.
    """
    _only_own(table)
    _only_declared(table, {name: value for name, value in values.items() if name != "created_at"})
    implicit = {"tenant_id": tenant, "id": row_id, "version": version}
    connection.execute(insert(table), {**values, **implicit})


def get_rows(
    connection: Connection, table: Table, tenant: str, ids: Sequence[str]
) -> dict[str, Row]:
    """The tenant's rows of these ids, by id; what is not there is left out.

    Raises BadInput for more than a page of them.
    """
    if len(ids) > PAGE_ROWS_MAX:
        raise BadInput("ids", f"must be at most {PAGE_ROWS_MAX}")
    query = select(table).where(of_tenant(table, tenant), table.c.id.in_(ids))
    return {str(row["id"]): dict(row) for row in connection.execute(query).mappings()}


def update_row(
    connection: Connection, table: Table, tenant: str, row_id: str, values: Row, *, version: int
) -> int:
    """Set declared fields of a row that is still at `version`; gives the new version.

    Raises NotFound, or Refused (`stale`) when the row has moved on.
    """
    _only_own(table)
    _only_declared(table, values)
    change = (
        update(table)
        .where(_one(table, tenant, row_id), table.c.version == version)
        .values({**values, "version": version + 1})
    )
    if connection.execute(change).rowcount != 1:
        raise _missed(connection, table, tenant, row_id)
    return version + 1


def delete_row(
    connection: Connection, table: Table, tenant: str, row_id: str, *, version: int
) -> None:
    """Remove a row that is still at `version`. Raises NotFound, or Refused (`stale`)."""
    _only_own(table)
    removal = delete(table).where(_one(table, tenant, row_id), table.c.version == version)
    if connection.execute(removal).rowcount != 1:
        raise _missed(connection, table, tenant, row_id)


def stale() -> Refused:
    """What answers a change of a row that has moved on."""
    return Refused("The row has changed since it was read.", code="stale", rule="version")


def of_tenant(table: Table, tenant: str) -> ColumnElement[bool]:
    """What every statement over the table is ANDed with."""
    return true() if table.schema == REFERENCE_SCHEMA else table.c.tenant_id == tenant


def _one(table: Table, tenant: str, row_id: str) -> ColumnElement[bool]:
    return and_(of_tenant(table, tenant), table.c.id == row_id)


def _missed(connection: Connection, table: Table, tenant: str, row_id: str) -> NotFound | Refused:
    if get_row(connection, table, tenant, row_id) is None:
        return NotFound()
    return stale()


def _only_own(table: Table) -> None:
    if table.schema == REFERENCE_SCHEMA:
        raise Refused("Reference rows are the catalog's.", code="reference_read_only")


def _only_declared(table: Table, values: Row) -> None:
    for name in IMPLICIT_FIELDS:
        if name in values:
            raise BadInput(name, "is not the caller's to set")
    for name in values:
        if table.c[name].computed is not None:
            raise BadInput(name, "is computed")
