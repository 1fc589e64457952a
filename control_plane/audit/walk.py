"""A walk over a log's leaves in order, recomputing tree and guards. Not a judge of signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from control_plane.audit.frontier import Frontier
from control_plane.audit.guarded import RowKey, apply_guards, broken_chains
from control_plane.audit.leaf import LeafError, leaf_hash, sealed_digest
from control_plane.audit.port import IndexedLeaf, LogStore
from control_plane.audit.report import FindingCode, Findings

PAGE: Final = 1_000
PAGES_MAX: Final = 2**20


class Walk:
    """How far the leaves were read: their frontier, and the last word on each guarded row."""

    def __init__(
        self, log: LogStore, findings: Findings, sealed: Callable[[str], bytes | None] | None
    ) -> None:
        """A walk at its start; `sealed` looks up payloads by leaf id, None leaves them alone."""
        self.frontier = Frontier()
        self.guards: dict[RowKey, str | None] = {}
        self._findings = findings
        self._sealed = sealed
        self._leaves = _readable(log, findings)
        self._next_index = 0

    def advance(self, size: int) -> bool:
        """Read on until the tree has `size` leaves; False when the log ends before."""
        while self.frontier.size < size:
            entry = next(self._leaves, None)
            if entry is None:
                return False
            self._take(entry)
        return True

    def finish(self) -> None:
        """Read whatever is left."""
        for entry in self._leaves:
            self._take(entry)

    def _take(self, entry: IndexedLeaf) -> None:
        if entry.index != self._next_index:
            detail = f"index {entry.index} where {self._next_index} belongs"
            self._findings.add(FindingCode.LEAF_GAP, detail)
        self._next_index = entry.index + 1
        self.frontier = self.frontier.append(leaf_hash(entry.leaf))
        for table, key in broken_chains(self.guards, entry.leaf):
            detail = f"{table} {key}: altered before index {entry.index}"
            self._findings.add(FindingCode.ROW_ALTERED, detail)
        apply_guards(self.guards, entry.leaf)
        if self._sealed is not None:
            self._check_payload(entry, self._sealed(entry.leaf.id))

    def _check_payload(self, entry: IndexedLeaf, sealed: bytes | None) -> None:
        if sealed is None:
            self._findings.add(FindingCode.PAYLOAD_MISSING, f"index {entry.index}")
        elif sealed_digest(sealed) != entry.leaf.sealed_digest:
            self._findings.add(FindingCode.PAYLOAD_ALTERED, f"index {entry.index}")


def stored_leaves(log: LogStore) -> Iterator[IndexedLeaf]:
    """All sequenced leaves by index, a page at a time. Raises LeafError from the store."""
    start = 0
    for _ in range(PAGES_MAX):
        page = log.leaves(start, PAGE)
        if not page:
            return
        yield from page
        start = max(start, page[-1].index) + 1


def _readable(log: LogStore, findings: Findings) -> Iterator[IndexedLeaf]:
    try:
        yield from stored_leaves(log)
    except LeafError as error:
        findings.add(FindingCode.LEAF_MALFORMED, str(error))
