"""What the audit room asks of a store: the log's rows. Not the store that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from control_plane.audit.leaf import Leaf
from control_plane.errors import PaybillError


class Fenced(PaybillError):
    """Another sequencer has extended the log: nothing was appended."""

    code = "fenced"


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends: its size, its frontier as JSON, its newest signed checkpoint.

    An empty log has size 0, an empty frontier, no note and no `signed_at` (aware).
    """

    size: int
    frontier: str
    note: str | None
    signed_at: datetime | None


@dataclass(frozen=True, slots=True)
class IndexedLeaf:
    """A leaf and the position that the sequencer gave it, from 0."""

    index: int
    leaf: Leaf


class LogStore(Protocol):
    """The rows of one log. Verification and export read within one snapshot of the store."""

    def head(self) -> Head:
        """The log's head; of a new store, that of an empty log."""
        ...

    def unsequenced(self, limit: int) -> list[Leaf]:
        """The oldest leaves that wait for an index.

        Leaves that guard the same row come in the order of their commits: a store has it by writing
        the leaf after the row, in one transaction, and ordering by an identity column.
        """
        ...

    def append(self, entries: Sequence[IndexedLeaf], head: Head, expected_size: int) -> None:
        """Give these waiting leaves their indexes, replace the head and keep its note: all or none.

        Raises Fenced, and changes nothing, unless the stored head has `expected_size` leaves.
        """
        ...

    def leaf(self, index: int) -> Leaf | None:
        """The leaf at one position, or None."""
        ...

    def leaves(self, start: int, limit: int) -> list[IndexedLeaf]:
        """Up to `limit` leaves with an index of at least `start`, by index.

        Raises LeafError when a stored leaf cannot be read.
        """
        ...

    def checkpoints(self, start: int, limit: int) -> list[str]:
        """Up to `limit` signed notes in the order they were made, from the one numbered `start`."""
        ...
