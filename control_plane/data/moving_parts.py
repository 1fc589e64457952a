"""A tenant's own tables as they are moved to another database: order, columns, keys. Not the rows.

The collections', the proofs of applied calls, and the images for an undo. The fence is each
database's own, and how many records there are is counted anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Table

from control_plane.data.collection import Collection
from control_plane.data.tables import APPLIED, UNDO, tenant_metadata

OWNER: Final = "tenant_id"
_BESIDE: Final = (APPLIED.name, UNDO.name)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A table, what tells its rows apart within a tenant, and the columns that are carried."""

    table: Table
    key: Column[Any]
    columns: tuple[Column[Any], ...]

    @property
    def name(self) -> str:
        """The table's."""
        return self.table.name

    @property
    def is_collection(self) -> bool:
        """Whether its rows are records that a plan counts."""
        return self.table.name not in _BESIDE

    def of(self, tenant: str) -> ColumnElement[bool]:
        """The tenant's rows."""
        return self.table.c[OWNER] == tenant


@dataclass(frozen=True, slots=True)
class Group:
    """Tables whose rows may refer to each other in a circle: none can be put before the other."""

    parts: tuple[Part, ...]
    is_circular: bool


class Moved:
    """All that is moved of one tenant.

    Raises BadInput where a collection refers to one that is not among them.
    """

    def __init__(self, collections: Sequence[Collection], tenant: str) -> None:
        self.collections = tuple(collections)
        self.tenant = tenant
        tables = tenant_metadata(collections).tables
        names = {one.name for one in collections if not one.reference}
        self.parts: Mapping[str, Part] = {
            name: _part(tables[name]) for name in (*sorted(names), *_BESIDE)
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


def _part(table: Table) -> Part:
    (key,) = (column for column in table.primary_key.columns if column.name != OWNER)
    # What is computed is made again from what it is made of.
    return Part(table, key, tuple(one for one in table.columns if one.computed is None))


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
