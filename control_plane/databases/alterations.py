"""The statements between two schemas where tables can be altered in place. Not what runs them.

Both schemas are known in full, so nothing is asked of a database but the names of its checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.schema import (
    AddConstraint,
    CreateIndex,
    CreateTable,
    DropConstraint,
    DropIndex,
    DropTable,
    ExecutableDDLElement,
)
from sqlalchemy.sql import visitors
from sqlalchemy.types import Boolean

from control_plane.databases.ddl import (
    AddCheck,
    AddColumn,
    DropColumn,
    DropConstraintNamed,
    SetDefault,
    SetNullable,
    SetType,
    ValidateConstraint,
)

# By column: what the database calls the check on it.
CheckNames: TypeAlias = Callable[[Table], Mapping[str, str]]
_NAME_BYTES_MAX: Final = 63
_CHECK: Final = "check"


def alterations(
    source: MetaData, target: MetaData, dialect: Dialect, check_names: CheckNames
) -> Iterator[ExecutableDDLElement]:
    """What makes the tables of `source` those of `target`, in an order that always works."""
    kept = [name for name in target.tables if name in source.tables]
    come = [table for name, table in target.tables.items() if name not in source.tables]
    gone = [table for name, table in source.tables.items() if name not in target.tables]
    differences = [
        _Difference(source.tables[name], target.tables[name], dialect, check_names) for name in kept
    ]
    for one in differences:
        yield from map(DropConstraint, one.dropped(ForeignKeyConstraint))
    for table in gone:
        yield from map(DropConstraint, _named(table, ForeignKeyConstraint).values())
    for one in differences:
        yield from one.drops()
    yield from map(DropTable, gone)
    for table in come:
        yield CreateTable(table)
        yield from map(CreateIndex, _indexes(table).values())
    for one in differences:
        yield from one.changes()
    for table in come:
        # The table is empty; only then can what it refers to, and what refers to it, be there.
        yield from map(AddConstraint, _named(table, ForeignKeyConstraint).values())
    for one in differences:
        for key in one.added(ForeignKeyConstraint):
            key.dialect_options["postgresql"]["not_valid"] = True
            yield AddConstraint(key)
            yield ValidateConstraint(one.new, str(key.name))


def check_name(table: Table, column: str) -> str:
    """The name that Postgres gives a check on one column, unless another constraint has it."""
    left, right = len(table.name), len(column)
    room = _NAME_BYTES_MAX - len(_CHECK) - 2
    while left + right > room:
        if left > right:
            left -= 1
        else:
            right -= 1
    return f"{table.name[:left]}_{column[:right]}_{_CHECK}"


class _Difference:
    """Between the two shapes of one table."""

    def __init__(self, old: Table, new: Table, dialect: Dialect, check_names: CheckNames) -> None:
        self.old = old
        self.new = new
        self._dialect = dialect
        self._check_names = check_names
        self._gone = [name for name in old.c.keys() if name not in new.c]  # noqa: SIM118 - by name
        self._come = [name for name in new.c.keys() if name not in old.c]  # noqa: SIM118 - by name
        self._kept = [name for name in new.c.keys() if name in old.c]  # noqa: SIM118 - by name
        self._retyped = [
            name for name in self._kept if self._type(old, name) != self._type(new, name)
        ]
        # A column's type cannot change under a formula that takes it.
        self._remade = [name for name in self._kept if self._is_remade(name)]

    def dropped(self, kind: type[Any]) -> list[Any]:
        """The constraints of a kind that the new shape has not."""
        new = _named(self.new, kind)
        return [one for name, one in _named(self.old, kind).items() if name not in new]

    def added(self, kind: type[Any]) -> list[Any]:
        """The constraints of a kind that the old shape has not."""
        old = _named(self.old, kind)
        return [one for name, one in _named(self.new, kind).items() if name not in old]

    def drops(self) -> Iterator[ExecutableDDLElement]:
        """What goes: first what stands on columns, then columns, those of a formula first."""
        new = _indexes(self.new)
        for name, index in _indexes(self.old).items():
            if name not in new or self._stands_on_remade(index):
                yield DropIndex(index)
        yield from map(DropConstraint, self.dropped(UniqueConstraint))
        yield from self._checks_dropped()
        leaving = [*self._remade, *self._gone]
        for name in sorted(leaving, key=lambda one: self.old.c[one].computed is None):
            yield DropColumn(self.old.c[name])

    def _checks_dropped(self) -> Iterator[ExecutableDDLElement]:
        # That of a column which goes is gone with it.
        changed = [name for name in self._changed_checks() if name not in self._gone]
        if changed:
            known = self._check_names(self.old)
            for name in changed:
                if name in known:
                    yield DropConstraintNamed(self.old, known[name])

    def changes(self) -> Iterator[ExecutableDDLElement]:
        """What changes or comes: columns, those of a formula last, then what stands on them."""
        for name in self._kept:
            if name not in self._remade:
                yield from self._column(self.old.c[name], self.new.c[name])
        coming = [*self._come, *self._remade]
        for name in sorted(coming, key=lambda one: self.new.c[one].computed is not None):
            yield AddColumn(self.new.c[name])
        checks = _checks(self.new)
        for name in self._changed_checks():
            if name in checks:
                called = check_name(self.new, name)
                yield AddCheck(self.new, checks[name], called)
                yield ValidateConstraint(self.new, called)
        yield from map(AddConstraint, self.added(UniqueConstraint))
        old = _indexes(self.old)
        for name, index in _indexes(self.new).items():
            if name not in old or self._stands_on_remade(index):
                yield CreateIndex(index)

    def _column(self, old: Column[Any], new: Column[Any]) -> Iterator[ExecutableDDLElement]:
        if new.name in self._retyped:
            yield SetType(new)
        if old.nullable != new.nullable:
            yield SetNullable(new)
        if (old.server_default is None) != (new.server_default is None) and new.computed is None:
            yield SetDefault(new)

    def _is_remade(self, name: str) -> bool:
        old, new = self.old.c[name].computed, self.new.c[name].computed
        if old is None or new is None:
            return False
        parts = {one.name for one in visitors.iterate(old.sqltext) if isinstance(one, Column)}
        texts = [self._text(one.sqltext) for one in (old, new)]
        return texts[0] != texts[1] or bool(parts.union((name,)).intersection(self._retyped))

    def _changed_checks(self) -> list[str]:
        old, new = _checks(self.old), _checks(self.new)
        return [
            name
            for name in dict.fromkeys((*old, *new))
            if name in self._remade
            or name not in old
            or name not in new
            or self._text(old[name].sqltext) != self._text(new[name].sqltext)
        ]

    def _stands_on_remade(self, index: Index) -> bool:
        return any(name in index.columns for name in self._remade)

    def _type(self, table: Table, name: str) -> str:
        return self._dialect.type_compiler_instance.process(table.c[name].type)

    def _text(self, expression: Any) -> str:
        return str(
            expression.compile(dialect=self._dialect, compile_kwargs={"literal_binds": True})
        )


def _named(table: Table, kind: type[Any]) -> dict[str, Any]:
    return {str(one.name): one for one in table.constraints if isinstance(one, kind)}


def _indexes(table: Table) -> dict[str, Index]:
    return {
        str(index.name): index for index in sorted(table.indexes, key=lambda one: str(one.name))
    }


def _checks(table: Table) -> dict[str, CheckConstraint]:
    """By column; each stands on one, and a boolean's is its type's own."""
    found = [one for one in table.constraints if isinstance(one, CheckConstraint)]
    by_column = {column.name: one for one in found for column in one.columns}
    return {
        name: by_column[name]
        for name in table.c.keys()  # noqa: SIM118 - by name
        if name in by_column and not isinstance(table.c[name].type, Boolean)
    }
