"""Keys and foreign keys of tables, as rows with an id of their own see them. Not the fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from control_plane.data.pulling.kinds import Kind, kind_of
from control_plane.data.pulling.names import words_of
from control_plane.data.pulling.schema import Column, Link, Table
from control_plane.data.pulling.tenancy import TenantKey

_MADE_KINDS: Final = frozenset({"integer", "uuid"})
_MADE_NAMES: Final = frozenset({"id", "uuid", "guid", "pk", "key", "oid"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The tables that are pulled, the collections' names by table, and the tenant's column."""

    tables: Mapping[str, Table]
    names: Mapping[str, str]
    tenant: TenantKey | None

    def own(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The columns without the tenant's: a tenant's rows stand apart by themselves."""
        return tuple(columns) if self.tenant is None else self.tenant.of(columns)

    def key(self, table: Table) -> tuple[str, ...]:
        """What tells the rows of one tenant apart."""
        return self.own(table.key)

    def pairs(self, link: Link) -> tuple[tuple[str, str], ...]:
        """The columns of a foreign key and their targets; none where these are not known."""
        if len(link.columns) != len(link.targets):
            return ()
        own = self.own(link.columns)
        both = zip(link.columns, link.targets, strict=True)
        return tuple(pair for pair in both if pair[0] in own)

    def surrogate(self, table: Table) -> str | None:
        """The column that is nothing but a key: Paybill's own `id` stands in its place."""
        key = self.key(table)
        column = table.column(key[0]) if len(key) == 1 else None
        if column is None or any(column.name in link.columns for link in table.links):
            return None
        kind = kind_of(column.type, keyed=True)
        is_made = isinstance(kind, Kind) and kind.name in _MADE_KINDS and _looks_made(column)
        return column.name if is_made else None

    def referred(self, link: Link) -> str | None:
        """Why a foreign key of one column is no reference; None when it is one."""
        if link.table is None:
            return "its foreign key leads to another schema"
        target = self.tables.get(link.table)
        if target is None:
            return "its foreign key leads to a table that is not pulled"
        if tuple(aim for _, aim in self.pairs(link)) != self.key(target):
            return "its foreign key leads to a column that is not the primary key"
        return None


def _looks_made(column: Column) -> bool:
    # A number may also be what a row is about, as a year is: such a key is kept.
    ends = words_of(column.name)[-1]
    return column.identity or column.default is not None or ends in _MADE_NAMES or ends[-2:] == "id"
