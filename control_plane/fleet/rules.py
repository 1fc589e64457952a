"""What a migration may change, and in which phase. Not how SQL is read, nor what is applied where.

The list is short on purpose: what it does not name is refused, whether or not it would do harm.
"""

from __future__ import annotations

import re
from collections.abc import Collection as AnyCollection
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from control_plane.fleet.changes import Change, ColumnSaid, KeySaid, Kind
from control_plane.fleet.finding import Finding
from control_plane.fleet.migration_file import Dialect, Migration
from control_plane.fleet.team_tables import TeamTables

OWNER: Final = "tenant_id"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED: Final = ("paybill", "pg_", "sqlite_")
# A database of before must go on serving calls: nothing goes, and nothing is demanded of old rows.
_EXPAND: Final[frozenset[Kind]] = frozenset(
    {
        "create_table",
        "add_column",
        "drop_not_null",
        "set_default",
        "create_index",
        "insert",
        "update",
    }
)
_CONTRACT: Final[frozenset[Kind]] = frozenset(
    {
        "drop_table",
        "drop_column",
        "set_not_null",
        "drop_default",
        "add_constraint",
        "drop_constraint",
        "create_index",
        "drop_index",
        "update",
        "delete",
    }
)
# SQLite alters no column, and adds no constraint to a table that stands.
_NOT_ON_SQLITE: Final[frozenset[Kind]] = frozenset(
    {
        "set_not_null",
        "drop_not_null",
        "set_default",
        "drop_default",
        "add_constraint",
        "drop_constraint",
    }
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for one engine's text of one migration; `declared` are the collections' names."""

    migration: Migration
    dialect: Dialect
    declared: AnyCollection[str]

    def findings(self, change: Change, tables: TeamTables) -> Iterator[Finding]:
        """What is wrong with a change, before `tables` has followed it."""
        for rule, message in self._wrong(change, tables):
            yield Finding(change.statement.file, change.statement.line, rule, message)

    def _wrong(self, change: Change, tables: TeamTables) -> Iterator[tuple[str, str]]:
        if change.kind == "unknown":
            yield "statement", "is put in a way that is not among what a migration may say"
            return
        yield from self._phase(change)
        yield from self._engine(change)
        if change.kind == "create_table":
            yield from self._created(change, tables)
            return
        if change.kind == "drop_index":
            if not tables.table_of_index(change.name):
                yield "unknown", f"no migration has made the index {_shown(change.name)}"
            return
        yield from self._known(change, tables)
        if change.table in tables.tables:
            yield from self._on_table(change, tables)

    def _phase(self, change: Change) -> Iterator[tuple[str, str]]:
        phase = self.migration.header.phase
        allowed = _EXPAND if phase == "expand" else _CONTRACT
        if change.kind not in allowed:
            yield phase, f"{change.kind.replace('_', ' ')} is not for {phase}"
        if change.not_valid:
            yield "statement", "must hold for the rows that stand too: leave out NOT VALID"

    def _engine(self, change: Change) -> Iterator[tuple[str, str]]:
        if self.dialect == "sqlite" and change.kind in _NOT_ON_SQLITE:
            yield "engine", f"SQLite has no {change.kind.replace('_', ' ')}"
        transactional = self.migration.variant(self.dialect).header.transactional
        if change.concurrently and (transactional or self.dialect == "sqlite"):
            yield "concurrently", "stands in no transaction: say `transactional: false`"
        if not change.concurrently and not transactional:
            yield "transactional", "only an index CONCURRENTLY needs no transaction"

    def _created(self, change: Change, tables: TeamTables) -> Iterator[tuple[str, str]]:
        yield from self._free(change.table, tables)
        names = [one.name for one in change.columns]
        if len(set(names)) != len(names):
            yield "name", "names a column twice"
        owner = next((one for one in change.columns if one.name == OWNER), None)
        if owner is None or owner.nullable or not owner.is_text or owner.default is not None:
            yield "tenant_id", "must have a column tenant_id of text that is NOT NULL"
        if [key.kind for key in change.keys].count("primary") != 1:
            yield "primary_key", "must have one PRIMARY KEY (tenant_id, …)"
        for column in change.columns:
            yield from _column(column)
        for key in change.keys:
            yield from self._key(key, set(names), tables)

    def _known(self, change: Change, tables: TeamTables) -> Iterator[tuple[str, str]]:
        for name in filter(None, (change.table, change.source)):
            if name in self.declared:
                yield "collection", f"{name} is a declared collection: the catalog changes it"
            elif name not in tables.tables:
                yield "unknown", f"no migration has made the table {_shown(name)}"

    def _on_table(self, change: Change, tables: TeamTables) -> Iterator[tuple[str, str]]:
        table = tables.tables[change.table]
        if change.kind == "create_index":
            yield from self._free(change.name, tables)
            yield from self._indexed(change, made_here=table.made_by == self.migration.number)
        for column in change.columns:
            yield from _column(column)
            if change.kind == "add_column":
                yield from _added(column, table.columns)
        for key in change.keys:
            own = table.columns | {one.name for one in change.columns}
            yield from self._key(key, own, tables)
        if change.kind in ("drop_column", "set_not_null", "drop_not_null", "drop_default") or (
            change.kind == "set_default"
        ):
            if change.name == OWNER:
                yield "tenant_id", "tenant_id stays as it is"
            elif change.name not in table.columns:
                yield "unknown", f"the table has no column {_shown(change.name)}"
        if change.kind == "drop_constraint" and change.name not in table.constraints:
            yield "unknown", f"no migration has made the constraint {_shown(change.name)}"
        yield from _rows(change, tables)

    def _indexed(self, change: Change, *, made_here: bool) -> Iterator[tuple[str, str]]:
        if made_here:
            return
        if change.unique and self.migration.header.phase == "expand":
            yield "unique", "rows that stand may not fit: a unique index is for contract"
        if self.dialect == "postgres" and not change.concurrently:
            yield "locking", "would stop writers: make the index CONCURRENTLY, in its own file"

    def _key(
        self, key: KeySaid, columns: set[str], tables: TeamTables
    ) -> Iterator[tuple[str, str]]:
        unknown = sorted((set(key.columns) | key.mentions) - columns)
        if unknown:
            yield "unknown", f"the table has no column {_shown(unknown[0])}"
        if key.kind != "check" and (not key.columns or key.columns[0] != OWNER):
            yield "tenant_id", f"a {key.kind} key must begin with tenant_id"
        if key.name and key.kind != "index" and _NAME.fullmatch(key.name) is None:
            yield "name", "must be a-z, 0-9 and _, from a letter"
        if key.kind == "foreign":
            pairs = len(key.columns) == len(key.target_columns)
            if not pairs or key.target_columns[:1] != (OWNER,):
                yield "tenant_id", "a foreign key must lead from tenant_id to tenant_id"
            if key.target not in tables.tables:
                yield "unknown", "a foreign key must lead to a table of an earlier statement"
            elif not set(key.target_columns) <= tables.columns_of(key):
                yield "unknown", "a foreign key must lead to columns that there are"

    def _free(self, name: str, tables: TeamTables) -> Iterator[tuple[str, str]]:
        if _NAME.fullmatch(name) is None or name.startswith(_RESERVED):
            yield "name", "must be a-z, 0-9 and _, from a letter, and none of Paybill's own"
        elif name in self.declared:
            yield "collection", f"{name} is a declared collection: the catalog changes it"
        elif name in tables.taken():
            yield "name", f"{name} is there already"


def _column(column: ColumnSaid) -> Iterator[tuple[str, str]]:
    if _NAME.fullmatch(column.name) is None:
        yield "name", "must be a-z, 0-9 and _, from a letter"
    if column.own_keys:
        yield "tenant_id", "a key must begin with tenant_id: say it behind the columns"
    if column.default is not None and not _is_constant(column.default):
        yield "default", "must be a constant, or CURRENT_TIMESTAMP"


def _added(column: ColumnSaid, known: set[str]) -> Iterator[tuple[str, str]]:
    if column.name in known:
        yield "name", f"the table has a column {column.name} already"
    if isinstance(column.default, exp.CurrentTimestamp):
        yield "default", "must be a constant where rows stand"
    if not column.nullable and (column.default is None or isinstance(column.default, exp.Null)):
        yield "not_null", "rows that stand would have none: give a default, or let it be null"


def _rows(change: Change, tables: TeamTables) -> Iterator[tuple[str, str]]:
    """What changes rows, of every tenant at once: each from itself alone, and none of another's."""
    if change.kind not in ("insert", "update", "delete"):
        return
    read = tables.tables.get(change.source or change.table)
    known = set[str]() if read is None else read.columns
    unknown = sorted(change.mentions - known)
    if unknown:
        yield "unknown", f"the table has no column {_shown(unknown[0])}"
    missing = sorted(set(change.targets) - tables.tables[change.table].columns)
    if missing:
        yield "unknown", f"the table has no column {_shown(missing[0])}"
    if change.kind == "update" and OWNER in change.targets:
        yield "tenant_id", "no row changes its tenant"
    if change.kind == "insert":
        pairs = dict(zip(change.targets, change.picks, strict=False))
        if len(change.targets) != len(change.picks) or pairs.get(OWNER) != OWNER:
            yield "tenant_id", "must take tenant_id from tenant_id"
    if change.kind == "delete" and not change.has_where:
        yield "destructive", "must say which rows; or drop the table"


def _is_constant(said: exp.Expr) -> bool:
    if isinstance(said, exp.Neg):
        return isinstance(said.this, exp.Literal)
    return isinstance(said, exp.Literal | exp.Boolean | exp.Null | exp.CurrentTimestamp)


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "of that name"
