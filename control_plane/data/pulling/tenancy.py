"""The column by which a schema tells its tenants apart, found or given. Not Paybill's own tenant."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from control_plane.data.pulling.names import words_of
from control_plane.data.pulling.schema import Schema, Table
from control_plane.errors import BadInput

_TABLES_MIN: Final = 2
_TENANTS: Final = re.compile(
    "tenant|organi[sz]ation|org|account|store|shop|company|workspace|team|customer|client|merchant"
)
_ENDS: Final = frozenset({"id", "uuid", "key", "code", "fk"})


@dataclass(frozen=True, slots=True)
class TenantKey:
    """The column that holds the tenant: `tables_count` of `tables_total` tables have it."""

    column: str
    table: str | None
    tables_count: int
    tables_total: int
    given: bool

    def of(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The columns without this one: Paybill adds the tenant to every key by itself."""
        return tuple(name for name in columns if name != self.column)


def given_tenant_key(schema: Schema, column: str) -> TenantKey:
    """The key that its owner names. Raises BadInput when no table has such a column."""
    having = [table for table in schema.tables if table.column(column) is not None]
    if not having:
        raise BadInput("--tenant-key", "must be a column of at least one table")
    targets = {found for table in having if (found := _target(table, column)) is not None}
    target = targets.pop() if len(targets) == 1 else None
    total = sum(table.name != target for table in schema.tables)
    count = sum(table.name != target for table in having)
    return TenantKey(column, target, count, total, given=True)


def proposed_tenant_key(schema: Schema) -> TenantKey | None:
    """A column named like a tenant by which most tables refer to one table; None without one."""
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for table in schema.tables:
        for column in table.columns:
            target = _target(table, column.name)
            if target is not None and _means_a_tenant(column.name):
                holders[column.name, target].add(table.name)
    keys = [
        TenantKey(column, target, len(names - {target}), len(schema.tables) - 1, given=False)
        for (column, target), names in sorted(holders.items())
    ]
    usual = [
        key
        for key in keys
        if key.tables_count >= _TABLES_MIN and 2 * key.tables_count > key.tables_total
    ]
    return max(usual, key=lambda key: key.tables_count, default=None)


def _target(table: Table, column: str) -> str | None:
    # The key's own foreign key first: in a composite one the column only goes along.
    links = [link for link in table.links if column in link.columns]
    alone = [link.table for link in links if len(link.columns) == 1]
    return next(iter(alone), None)


def _means_a_tenant(column: str) -> bool:
    words = words_of(column)
    named = words[:-1] if len(words) > 1 and words[-1] in _ENDS else words
    return len(named) == 1 and _TENANTS.fullmatch(named[0]) is not None
