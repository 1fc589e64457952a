"""Guarded rows: what the leaves say of rows, held against what they are. Not their tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from control_plane.audit.leaf import Guard, Leaf, row_digest

RowKey: TypeAlias = tuple[str, str]
"""A guarded row: (table, key)."""

ABSENT: Final = "absent"
KEY_TABLE: Final = "$key"
CATALOG_TABLE: Final = "$catalog"
APPLIED: Final = "applied"
"""The key of the one catalog in force, under the table `$catalog`."""


class Difference(StrEnum):
    """How a row differs from the last leaf that wrote it."""

    ALTERED = "altered"
    MISSING = "missing"
    UNWRITTEN = "unwritten"


def row_guard(table: str, key: str, row: Mapping[str, object] | None) -> Guard:
    """The guard of a row as a change left it; None says that the change deleted it."""
    return Guard(table=table, key=key, digest=None if row is None else row_digest(row))


def key_guard(name: str, public: bytes | None) -> Guard:
    """The guard of a public key in force under `name`; None says that it was withdrawn."""
    return Guard(table=KEY_TABLE, key=name, digest=None if public is None else key_digest(public))


def catalog_guard(name: str, catalog_digest: str | None) -> Guard:
    """The guard of a catalog's files under `name`: their digest; None says that none is applied."""
    return Guard(table=CATALOG_TABLE, key=name, digest=catalog_digest)


def key_digest(public: bytes) -> str:
    """What stands for a public key among the rows: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()


def after(found: Guard, now: Guard) -> Guard:
    """The guard of a change that found the row as `found` says and left it as `now` says."""
    return now.model_copy(update={"before": found.digest or ABSENT})


def broken_chains(state: Mapping[RowKey, str | None], leaf: Leaf) -> Iterator[RowKey]:
    """The rows that this leaf's change found otherwise than the leaves before it left them."""
    for guard in leaf.guards:
        said = state.get((guard.table, guard.key)) or ABSENT
        if guard.before is not None and guard.before != said:
            yield guard.table, guard.key


def apply_guards(state: dict[RowKey, str | None], leaf: Leaf) -> None:
    """Let one leaf, the next in order, overwrite what earlier ones said of its rows."""
    for guard in leaf.guards:
        state[guard.table, guard.key] = guard.digest


def latest_guards(leaves: Iterable[Leaf]) -> dict[RowKey, str | None]:
    """The last word of leaves, in order, on each row: its digest, or None when deleted."""
    state: dict[RowKey, str | None] = {}
    for leaf in leaves:
        apply_guards(state, leaf)
    return state


def differences(
    expected: Mapping[RowKey, str | None],
    waiting: Iterable[Leaf],
    rows: Mapping[RowKey, str],
) -> Iterator[tuple[RowKey, Difference]]:
    """Each row, by table and key, that is not as the last leaf left it.

    A row that waiting leaves guard has not yet an order among them: it must be as one of them says.
    """
    pending: dict[RowKey, set[str | None]] = {}
    for leaf in waiting:
        for guard in leaf.guards:
            pending.setdefault((guard.table, guard.key), set()).add(guard.digest)
    for row in sorted(expected.keys() | pending.keys() | rows.keys()):
        allowed = pending.get(row, {expected.get(row)})
        actual = rows.get(row)
        if actual not in allowed:
            yield row, _difference(actual, allowed)


def _difference(actual: str | None, allowed: set[str | None]) -> Difference:
    if actual is None:
        return Difference.MISSING
    return Difference.UNWRITTEN if allowed == {None} else Difference.ALTERED
