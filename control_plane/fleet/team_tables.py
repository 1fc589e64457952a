"""The tables that a sequence of migrations has made, as far as their texts tell. Not a database's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from control_plane.fleet.changes import Change, KeySaid


@dataclass(slots=True)
class TeamTable:
    """One table: its columns, what is named on it, and the migration that made it."""

    made_by: int
    columns: set[str] = field(default_factory=set[str])
    constraints: set[str] = field(default_factory=set[str])
    indexes: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class TeamTables:
    """Every table that stands behind the migrations read so far."""

    tables: dict[str, TeamTable] = field(default_factory=dict[str, TeamTable])

    def names(self) -> Sequence[str]:
        """The tables, sorted."""
        return sorted(self.tables)

    def shape(self) -> dict[str, tuple[list[str], list[str]]]:
        """What two engines' texts must agree on: tables with their columns and indexes."""
        return {
            name: (sorted(one.columns), sorted(one.indexes)) for name, one in self.tables.items()
        }

    def table_of_index(self, name: str) -> str:
        """The table that an index of that name stands on, or nothing."""
        return next((table for table, one in self.tables.items() if name in one.indexes), "")

    def taken(self) -> set[str]:
        """Every name of a table or an index: one engine keeps both in one list."""
        return set(self.tables).union(*(one.indexes for one in self.tables.values()))

    def follow(self, change: Change, number: int) -> None:
        """Be as after the change, which has been found in order."""
        if change.kind == "create_table":
            made = TeamTable(number, {one.name for one in change.columns})
            made.constraints = {key.name for key in change.keys if key.name}
            self.tables[change.table] = made
        elif change.kind == "drop_table":
            self.tables.pop(change.table, None)
        elif change.kind == "drop_index":
            for one in self.tables.values():
                one.indexes.discard(change.name)
        else:
            self._alter(change)

    def _alter(self, change: Change) -> None:
        table = self.tables.get(change.table)
        if table is None:
            return
        if change.kind == "add_column":
            table.columns |= {one.name for one in change.columns}
        elif change.kind == "drop_column":
            table.columns.discard(change.name)
        elif change.kind == "create_index":
            table.indexes.add(change.name)
        elif change.kind == "add_constraint":
            table.constraints |= {key.name for key in change.keys}
        elif change.kind == "drop_constraint":
            table.constraints.discard(change.name)

    def columns_of(self, key: KeySaid) -> set[str]:
        """The columns of the table that a key refers to."""
        found = self.tables.get(key.target)
        return set() if found is None else found.columns
