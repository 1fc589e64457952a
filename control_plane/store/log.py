"""The audit log's rows in our store: the adapter of the port LogStore. Signs nothing."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, select, true

from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import Leaf, LeafError, parse_leaf
from control_plane.audit.port import Fenced, Head, IndexedLeaf
from control_plane.domain.canonical import instant
from control_plane.ports import Store
from control_plane.store import tables

# No tenant's name holds a colon: who extends the log waits for no tenant's change.
_SCOPE = ":log"
_PUBLIC = tuple(tables.audit_leaf.c[name] for name in Leaf.model_fields)


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf with its sealed payload; `index` is None while it waits for one."""

    index: int | None
    leaf: Leaf
    sealed: bytes


class StoredLog:
    """One log over ``audit_leaf`` and ``checkpoint``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def head(self) -> Head:
        """The newest checkpoint; of a new store, an empty log."""
        with self._store.read() as connection:
            return _head(connection)

    def unsequenced(self, limit: int) -> list[Leaf]:
        """The oldest leaves without a position, in the order of their commits."""
        table = tables.audit_leaf
        statement = select(*_PUBLIC).where(table.c.position.is_(None)).order_by(table.c.written)
        with self._store.read() as connection, _readable():
            found = connection.execute(statement.limit(limit)).mappings()
            return [_leaf(dict(row)) for row in found]

    def append(self, entries: Sequence[IndexedLeaf], head: Head, expected_size: int) -> None:
        """Write positions and checkpoint in one transaction, or nothing.

        Raises Fenced on another head, and when a leaf does not wait: the tree would cover no row.
        """
        table = tables.audit_leaf
        with self._store.write(_SCOPE) as connection:
            if _head(connection).size != expected_size:
                raise Fenced
            for entry in entries:
                given = connection.execute(
                    table.update()
                    .where((table.c.id == entry.leaf.id) & table.c.position.is_(None))
                    .values(position=entry.index)
                )
                if given.rowcount != 1:
                    raise Fenced
            assert head.signed_at is not None, "a head with leaves is signed"
            connection.execute(
                tables.checkpoint.insert().values(
                    size=head.size,
                    note=head.note,
                    frontier=head.frontier,
                    signed_at=instant(head.signed_at),
                )
            )

    def leaf(self, index: int) -> Leaf | None:
        """The leaf at one position."""
        found = self.leaves(index, 1)
        return found[0].leaf if found and found[0].index == index else None

    def leaves(self, start: int, limit: int) -> list[IndexedLeaf]:
        """Leaves from a position on."""
        table = tables.audit_leaf
        statement: Select[tuple[object, ...]] = (
            select(table.c.position, *_PUBLIC)
            .where(table.c.position >= start)
            .order_by(table.c.position)
            .limit(limit)
        )
        with self._store.read() as connection, _readable():
            found = connection.execute(statement).mappings()
            return [IndexedLeaf(int(row["position"]), _leaf(dict(row))) for row in found]

    def newest(self, limit: int, tenant: str | None = None) -> list[StoredLeaf]:
        """The newest leaves first, those that wait too; of one tenant when it is named."""
        table = tables.audit_leaf
        wanted = true() if tenant is None else table.c.tenant == tenant
        statement = select(table).where(wanted).order_by(table.c.written.desc()).limit(limit)
        with self._store.read() as connection, _readable():
            found = connection.execute(statement).mappings()
            return [StoredLeaf(row["position"], _leaf(dict(row)), row["sealed"]) for row in found]

    def sealed(self, leaf_id: str) -> bytes | None:
        """The sealed payload beside a leaf, or None."""
        table = tables.audit_leaf
        statement = select(table.c.sealed).where(table.c.id == leaf_id)
        with self._store.read() as connection:
            found: bytes | None = connection.execute(statement).scalar()
            return found

    def checkpoints(self, start: int, limit: int) -> list[str]:
        """Signed notes in the order they were made."""
        table = tables.checkpoint
        statement = select(table.c.note).order_by(table.c.size).offset(start).limit(limit)
        with self._store.read() as connection:
            return [str(note) for (note,) in connection.execute(statement)]


@contextmanager
def _readable() -> Generator[None]:
    try:
        yield
    except (TypeError, ValueError):
        raise LeafError("leaf: guards") from None


def _head(connection: Connection) -> Head:
    table = tables.checkpoint
    row = connection.execute(select(table).order_by(table.c.size.desc()).limit(1)).first()
    if row is None:
        return Head(0, Frontier().to_json(), None, None)
    return Head(row.size, row.frontier, row.note, datetime.fromisoformat(row.signed_at))


def _leaf(row: Mapping[str, object]) -> Leaf:
    return parse_leaf(json.dumps({name: row[name] for name in Leaf.model_fields}))
