"""Whether an index finds what a filter leaves, or its rows are met on a walk in the page's order. Not the statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint

from control_plane.data.filters import Comparison, Tree

_TENANT: Final = "tenant_id"
_SOUGHT: Final = frozenset({"eq", "in", "lt", "le", "gt", "ge"})


def found_by_index(tree: Tree | None, table: Table) -> bool:
    """Whether every row that the filter leaves is in a part of an index that it names.

    The engine is then left to choose between that part and the page's order; without one, all that
    there is to do beside the walk is to read a tenant's every row, and to sort them.
    """
    return tree is not None and _finds(tree, frozenset(_leading(table)))


def _finds(tree: Tree, leading: frozenset[str]) -> bool:
    if isinstance(tree, Comparison):
        return tree.op in _SOUGHT and tree.field in leading
    if tree.op == "not":
        return False
    parts = (_finds(part, leading) for part in tree.args)
    return any(parts) if tree.op == "and" else all(parts)


def _leading(table: Table) -> Iterator[str]:
    keys = [
        one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)
    ]
    for part in (*table.indexes, *keys):
        names = [column.name for column in part.columns if column.name != _TENANT]
        yield from names[:1]
