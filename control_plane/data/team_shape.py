"""The tables that a team's migrations have made, as they stand in a place, typed to be carried. Not a migration.

Between two places of one engine a value is what the engine has, as it has it. Between two engines it
is what Postgres's column says that it is: SQLite keeps no types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Column,
    Dialect,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    bindparam,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, UserDefinedType

from control_plane.data.team_values import (
    Stored,
    TeamKind,
    from_sqlite,
    settled,
    to_sqlite,
    told,
    told_as_kept,
)
from control_plane.domain.canonical import Json
from control_plane.errors import Failed, Refused

OWNER: Final = "tenant_id"
_AS_KEPT: Final = NullType()
SEPARATOR: Final = "|"
"""Between the values of a key as SQLite's triggers note it."""


@dataclass(frozen=True, slots=True)
class TeamReference:
    """A foreign key: its columns, and the table and columns that it leads to."""

    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TeamTable:
    """One table. `columns` tell what each holds, None where the engine does not say or we have no such kind.

    `keys` tell its rows apart within a tenant; there may be none, and then it has one row. `uniques`
    are what else a tenant has once.
    """

    name: str
    columns: Mapping[str, TeamKind | None]
    keys: tuple[str, ...]
    references: tuple[TeamReference, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class TeamShape:
    """Every such table of a place. `level` is a digest of the migrations that it has had, empty for none.

    `migrations` are those that are done, each with its digest, in order.
    """

    engine: str
    level: str = ""
    tables: tuple[TeamTable, ...] = ()
    migrations: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def in_order(self) -> tuple[TeamTable, ...]:
        """Those referred to before those that refer; of those that go round, the first by name."""
        left = {one.name: one for one in self.tables}
        ordered: list[TeamTable] = []
        while left:
            free = (name for name in sorted(left) if _leads_to(left[name]).isdisjoint(left))
            ordered.append(left.pop(next(free, min(left))))
        return tuple(ordered)


def _leads_to(one: TeamTable) -> set[str]:
    return {each.table for each in one.references} - {one.name}


class _AsText(FunctionElement[Any]):
    """A column as Postgres writes it; on SQLite as it is kept."""

    inherit_cache = True


@compiles(_AsText)
def _as_kept(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_AsText, "postgresql")
def _as_text(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


class Carried(UserDefinedType[Any]):
    """Text as Postgres writes it; without a kind, what the engine has, as it has it."""

    cache_ok = True

    def __init__(self, kind: TeamKind | None) -> None:
        self.kind = kind

    def column_expression(self, colexpr: Any) -> Any:
        """Ask for the text, whatever the type."""
        said = _AsText(colexpr)
        said.type = self
        return said

    def bind_processor(self, dialect: Dialect) -> Any:
        """Postgres reads the text by itself; SQLite is given what it keeps, or ValueError."""
        kind = self.kind
        if kind is None or dialect.name != "sqlite":
            return None
        return partial(to_sqlite, kind)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """The text; ValueError where SQLite has what is none."""
        kind = self.kind
        if kind is None:
            return None
        return partial(from_sqlite if dialect.name == "sqlite" else _settled, kind)

    def told(self, value: Any) -> Json:
        """What a digest of the value is over. Raises ValueError as reading it would."""
        return told_as_kept(value) if self.kind is None else told(self.kind, value)

    def said(self, stored: Stored) -> Any:
        """What SQLite keeps, as rows have it. Raises ValueError."""
        return stored if self.kind is None else from_sqlite(self.kind, stored)


def team_tables(shape: TeamShape, kinds: TeamShape | None = None) -> dict[str, Table]:
    """The tables for statements, by name; with `kinds`, the place of another engine that says them.

    Raises Failed (`migrations_differ`) where the other has had other migrations, Refused
    (`schema_drifted`) where a table of the two has other columns.
    """
    if kinds is not None:
        _require_alike(shape, kinds)
    asked = {} if kinds is None or kinds.engine == shape.engine else _kinds(shape, kinds)
    metadata = MetaData()
    return {one.name: _table(metadata, one, asked.get(one.name)) for one in shape.tables}


def decoded(columns: Sequence[Column[Any]], key: str, engine: str) -> list[BindParameter[Any]]:
    """A row's key as a trigger has noted it, for a statement on that engine. Raises ValueError.

    Postgres notes a list of texts, SQLite each value with the letter of how it keeps it.
    """
    types = [column.type for column in columns]
    assert all(isinstance(one, Carried) for one in types), "only a team's keys are noted so"
    if key.startswith("["):
        said = [
            settled(one.kind, text) if one.kind else text  # type: ignore[attr-defined]
            for one, text in zip(types, json.loads(key), strict=True)
        ]
        return [_bound(value, kind) for value, kind in zip(said, types, strict=True)]
    stored = [_stored(part) for part in key.split(SEPARATOR)] if key else []
    if engine == "sqlite":
        return [_bound(value, _AS_KEPT) for value in stored]
    return [
        _bound(kind.said(value), kind)  # type: ignore[attr-defined]
        for value, kind in zip(stored, types, strict=True)
    ]


def _settled(kind: TeamKind, said: str | None) -> str | None:
    return None if said is None else settled(kind, said)


def _bound(value: Any, kind: Any) -> BindParameter[Any]:
    return bindparam(None, value, type_=kind, unique=True)


def _stored(part: str) -> Stored:
    letter, rest = part[:1], part[1:]
    if letter == "t":
        return bytes.fromhex(rest).decode()
    if letter == "b":
        return bytes.fromhex(rest)
    if letter == "i":
        return int(rest)
    return float(rest) if letter == "r" else None


def _require_alike(shape: TeamShape, other: TeamShape) -> None:
    if shape.level != other.level:
        raise Failed(
            "The two databases have not had the same migrations.", code="migrations_differ"
        )
    theirs = {one.name: set(one.columns) for one in other.tables}
    for one in shape.tables:
        if theirs.get(one.name) != set(one.columns):
            raise _drifted(one.name)


def _kinds(shape: TeamShape, other: TeamShape) -> dict[str, Mapping[str, TeamKind]]:
    said = other if shape.engine == "sqlite" else shape
    found: dict[str, Mapping[str, TeamKind]] = {}
    for one in said.tables:
        kinds = {name: kind for name, kind in one.columns.items() if kind is not None}
        if len(kinds) != len(one.columns):
            raise _drifted(one.name)
        found[one.name] = kinds
    return found


def _table(metadata: MetaData, one: TeamTable, kinds: Mapping[str, TeamKind] | None) -> Table:
    made = [Column(name, Carried(kinds[name] if kinds else None)) for name in one.columns]
    references = (
        ForeignKeyConstraint(each.columns, [f"{each.table}.{name}" for name in each.targets])
        for each in one.references
    )
    uniques = (UniqueConstraint(*each) for each in one.uniques)
    key = PrimaryKeyConstraint(OWNER, *one.keys)
    return Table(one.name, metadata, *made, key, *uniques, *references)


def _drifted(name: str) -> Refused:
    return Refused("A table is not as its migrations left it.", code="schema_drifted", rule=name)
