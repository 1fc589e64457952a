"""A database's schema as it was found: tables, columns, keys. Not a declaration, nor how it was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.types import TypeEngine


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `default` is the database's own expression, as text; None when there is none."""

    name: str
    type: TypeEngine[Any]
    nullable: bool = True
    default: str | None = None
    generated: bool = False
    identity: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key: `columns` hold what `targets` of `table` hold. `table` is None elsewhere."""

    columns: tuple[str, ...]
    table: str | None
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index. `plain` is one over whole columns and all rows, sorted."""

    columns: tuple[str, ...]
    unique: bool = False
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table with everything that its schema says of it. `checks` are expressions, as text."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[Index, ...] = ()
    checks: tuple[str, ...] = ()
    comment: str = ""

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((one for one in self.columns if one.name == name), None)

    @property
    def keyed(self) -> frozenset[str]:
        """The columns that a key, a unique constraint, an index or a foreign key uses."""
        used = [self.key, *self.uniques]
        used += [one.columns for one in self.indexes]
        used += [one.columns for one in self.links]
        return frozenset(name for names in used for name in names)


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables in order of their names, and those left out by name with the reason."""

    tables: tuple[Table, ...]
    left_out: tuple[tuple[str, str], ...] = ()
