"""A tenant's own tables as they are moved to another database: order, columns, keys. Not the rows.

The collections', the proofs of applied calls, the images for an undo, and the tables of the team's
own. The fence is each database's own, and how many records there are is counted anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Table, and_, column, or_, select

from control_plane.data.collection import Collection
from control_plane.data.tables import APPLIED, UNDO, tenant_metadata
from control_plane.data.team_shape import OWNER, Carried, TeamShape, decoded, team_tables
from control_plane.data.values import to_json
from control_plane.domain.canonical import Json

_BESIDE: Final = (APPLIED.name, UNDO.name)
_KEYS_PER_STEP: Final = 1_000
# Each is a condition of its own, and an engine nests no more than so many.
_TEAM_KEYS_PER_STEP: Final = 200
_WHERE: Final = {"sqlite": "rowid", "postgresql": "ctid"}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A table, what tells its rows apart within a tenant, and the columns that are carried.

    A row is named by a text, its key: a record's id, or what a trigger makes of a team's own row.
    """

    table: Table
    keys: tuple[Column[Any], ...]
    columns: tuple[Column[Any], ...]
    is_team: bool = False

    @property
    def name(self) -> str:
        """The table's."""
        return self.table.name

    @property
    def is_collection(self) -> bool:
        """Whether its rows are records that a plan counts."""
        return not self.is_team and self.table.name not in _BESIDE

    @property
    def keys_per_step(self) -> int:
        """How many rows one statement may name."""
        return _TEAM_KEYS_PER_STEP if self.is_team else _KEYS_PER_STEP

    def of(self, tenant: str) -> ColumnElement[bool]:
        """The tenant's rows."""
        return self.table.c[OWNER] == tenant

    def named(self, tenant: str, keys: Sequence[str], engine: str) -> ColumnElement[bool]:
        """The tenant's rows of the keys, for a statement on that engine. Raises ValueError."""
        if not self.is_team:
            return and_(self.of(tenant), self.keys[0].in_(keys))
        # SQLite lets a key have no value, and looks for that by its index too.
        same = "is_not_distinct_from" if engine == "sqlite" else "__eq__"
        return or_(
            *(
                and_(
                    self.of(tenant),
                    *(
                        getattr(one, same)(value)
                        for one, value in zip(
                            self.keys, decoded(self.keys, key, engine), strict=True
                        )
                    ),
                )
                for key in keys
            )
        )

    def among(self, tenant: str, rows_max: int, engine: str) -> ColumnElement[bool]:
        """So many of the tenant's rows, whichever."""
        mine = self.of(tenant)
        # Where a row lies: a team's key may be of no column, or have no value.
        named: ColumnElement[Any] = column(_WHERE[engine]) if self.is_team else self.keys[0]
        some = select(named).select_from(self.table).where(mine).limit(rows_max)
        return and_(mine, named.in_(some))

    def told(self, row: Mapping[str, Any]) -> Json:
        """What a digest of a row is over. Raises ValueError."""
        if not self.is_team:
            return [to_json(row[one.name]) for one in self.columns]
        said: list[Json] = []
        for one in self.columns:
            assert isinstance(one.type, Carried), "a team's columns are carried"
            said.append(one.type.told(row[one.name]))
        return said


@dataclass(frozen=True, slots=True)
class Group:
    """Tables whose rows may refer to each other in a circle: none can be put before the other."""

    parts: tuple[Part, ...]
    is_circular: bool


class Moved:
    """All that is moved of one tenant, out of a place whose team's own tables are of that shape.

    `whither` is the shape of the other place; None where rows are carried as they lie. Raises
    BadInput where a collection refers to one that is not among them; Failed (`migrations_differ`)
    and Refused (`schema_drifted`) where the two are not alike.
    """

    def __init__(
        self,
        collections: Sequence[Collection],
        tenant: str,
        shape: TeamShape,
        whither: TeamShape | None = None,
    ) -> None:
        self.collections = tuple(collections)
        self.tenant = tenant
        self.level = shape.level
        tables = tenant_metadata(collections).tables
        names = {one.name for one in collections if not one.reference}
        parts = {name: _part(tables[name]) for name in (*sorted(names), *_BESIDE)}
        team = team_tables(shape, whither)
        self.parts: Mapping[str, Part] = {
            **parts,
            **{name: _part(table, is_team=True) for name, table in team.items()},
        }

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every table once, those referred to before those that refer."""
        to = {name: _referred(part) for name, part in self.parts.items()}
        reached = {name: _reached(name, to) for name in to}
        # Those that reach each other stand for each other, by the first of their names.
        head = {
            name: min({name, *(one for one in reached[name] if name in reached[one])})
            for name in to
        }
        before: dict[str, set[str]] = {head[name]: set() for name in sorted(to)}
        for name, others in to.items():
            before[head[name]].update(head[one] for one in others if head[one] != head[name])
        order = TopologicalSorter(before).static_order()
        return tuple(
            Group(
                tuple(part for name, part in self.parts.items() if head[name] == one),
                one in reached[one],
            )
            for one in order
        )


def _part(table: Table, *, is_team: bool = False) -> Part:
    keys = tuple(one for one in table.primary_key.columns if one.name != OWNER)
    # What is computed is made again from what it is made of.
    carried = tuple(one for one in table.columns if one.computed is None)
    return Part(table, keys, carried, is_team)


def _referred(part: Part) -> set[str]:
    return {key.referred_table.name for key in part.table.foreign_key_constraints}


def _reached(start: str, to: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    ahead = list(to[start])
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead.extend(to[name])
    return found
