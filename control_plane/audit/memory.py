"""A log kept in memory, for tests and trials. Not durable."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import Leaf
from control_plane.audit.port import Fenced, Head, IndexedLeaf


class MemoryLog:
    """A LogStore over lists; `add` stands for the transaction that commits a leaf."""

    def __init__(self) -> None:
        """An empty log."""
        self.entries: list[IndexedLeaf] = []
        self.waiting: list[Leaf] = []
        self.notes: list[str] = []
        self.sealed: dict[str, bytes] = {}
        self.present = Head(0, Frontier().to_json(), None, None)
        self._lock = threading.Lock()

    def add(self, leaf: Leaf, sealed: bytes) -> None:
        """Commit one leaf, not yet sequenced, with its sealed payload."""
        with self._lock:
            self.waiting.append(leaf)
            self.sealed[leaf.id] = sealed

    def head(self) -> Head:
        """The log's head."""
        return self.present

    def unsequenced(self, limit: int) -> list[Leaf]:
        """The oldest waiting leaves."""
        with self._lock:
            return self.waiting[:limit]

    def append(self, entries: Sequence[IndexedLeaf], head: Head, expected_size: int) -> None:
        """Index waiting leaves and replace the head. Raises Fenced."""
        with self._lock:
            if self.present.size != expected_size:
                raise Fenced
            done = {entry.leaf.id for entry in entries}
            self.entries.extend(entries)
            self.waiting = [leaf for leaf in self.waiting if leaf.id not in done]
            self.present = head
            if head.note is not None:
                self.notes.append(head.note)

    def leaf(self, index: int) -> Leaf | None:
        """The leaf at one position, or None."""
        return next((entry.leaf for entry in self.entries if entry.index == index), None)

    def leaves(self, start: int, limit: int) -> list[IndexedLeaf]:
        """Leaves with an index of at least `start`."""
        found = [entry for entry in self.entries if entry.index >= start]
        return sorted(found, key=lambda entry: entry.index)[:limit]

    def checkpoints(self, start: int, limit: int) -> list[str]:
        """Signed notes from the one numbered `start`."""
        return self.notes[start : start + limit]
