"""How many records a tenant has, kept beside them. Not the limit that a plan sets, nor the records.

Kept and not counted: what a count over the rows costs grows with them. Whoever adds or removes takes
the tenant's row here before any other, in the same transaction: so two at once wait for each other
here, where the first holds nothing that it could still wait for, and the second one sees what the
first has committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, Table, bindparam, func, select, update

from control_plane.data.collection import Collection
from control_plane.data.tables import COUNT, collection_table
from control_plane.errors import Failed, Refused

# Made once: to build a statement costs more than to run it.
_MINE: Final = COUNT.c.tenant_id == bindparam("tenant")
_AFTER: Final = COUNT.c.records + bindparam("difference")
_CHANGE: Final = update(COUNT).where(_MINE).values(records=_AFTER)
_WITHIN: Final = _CHANGE.where(bindparam("records_max") >= _AFTER)
_SET: Final = update(COUNT).where(_MINE).values(records=bindparam("difference"))
_COUNTED: Final = select(COUNT.c.records).where(_MINE)


def records_of(connection: Connection, tenant: str) -> int:
    """How many records the tenant has. Raises Failed (`schema_differs`) where nothing counts them."""
    counted = connection.execute(_COUNTED, {"tenant": tenant}).scalar_one_or_none()
    if counted is None:
        raise Failed("Nothing counts the tenant's records.", code="schema_differs")
    return int(counted)


def count_on(
    connection: Connection, tenant: str, difference: int, records_max: int | None = None
) -> None:
    """Say that the transaction adds so many records, or removes them: before it does.

    With `records_max`, more come only up to it: Refused (`records_quota`). Fewer are never refused.
    Raises Failed (`schema_differs`) where nothing counts them.
    """
    if difference == 0:
        return
    given = {"tenant": tenant, "difference": difference}
    if difference < 0 or records_max is None:
        changed = connection.execute(_CHANGE, given)
    else:
        changed = connection.execute(_WITHIN, {**given, "records_max": records_max})
    if changed.rowcount != 1:
        require_room(records_of(connection, tenant), difference, records_max or 0)


def set_records(connection: Connection, tenant: str, records: int) -> None:
    """Say how many there are, where they were loaded as a whole; a trial counts for nobody."""
    connection.execute(_SET, {"tenant": tenant, "difference": records})


def require_room(held: int, more: int, records_max: int) -> None:
    """Raise Refused (`records_quota`) unless so many more may be had."""
    if held + more > records_max:
        raise Refused(
            f"The plan allows {records_max} records, and the tenant would have more.",
            code="records_quota",
            rule="catalog.quotas.records_max",
            fact="records",
        )


def discount_tables(connection: Connection, gone: Sequence[Table]) -> None:
    """Count no longer what is in tables that are about to go; the connection must see all of it."""
    for table in gone:
        rows = select(func.count()).select_from(table).where(table.c.tenant_id == COUNT.c.tenant_id)
        fewer = COUNT.c.records - rows.correlate(COUNT).scalar_subquery()
        connection.execute(update(COUNT).values(records=fewer))


def counted(
    connection: Connection, collections: Sequence[Collection], tenant: str
) -> dict[str, int]:
    """How many rows the tenant has in each collection of its own, as they are counted now."""
    counts: dict[str, int] = {}
    for collection in collections:
        if not collection.reference:
            table = collection_table(collection)
            mine = select(func.count()).where(table.c.tenant_id == tenant)
            counts[collection.name] = int(connection.execute(mine).scalar_one())
    return counts
