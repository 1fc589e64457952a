"""Verification of a whole log with a public key alone. Not the reading of sealed payloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from control_plane.audit.checkpoint import Checkpoint
from control_plane.audit.guarded import (
    CATALOG_TABLE,
    KEY_TABLE,
    Difference,
    RowKey,
    differences,
)
from control_plane.audit.leaf import Leaf, LeafError
from control_plane.audit.note import parse_verifier_key
from control_plane.audit.port import LogStore
from control_plane.audit.report import FindingCode, Findings, Report, read_checkpoint
from control_plane.audit.walk import PAGE, PAGES_MAX, Walk

WAITING_MAX: Final = 10_000

_ROW_CODES: Final = {
    Difference.ALTERED: FindingCode.ROW_ALTERED,
    Difference.MISSING: FindingCode.ROW_MISSING,
    Difference.UNWRITTEN: FindingCode.ROW_UNWRITTEN,
}
_TABLE_CODES: Final = {
    KEY_TABLE: FindingCode.KEY_CHANGED,
    CATALOG_TABLE: FindingCode.CATALOG_CHANGED,
}


def verify(
    log: LogStore,
    verifier_key: str,
    *,
    rows: Mapping[RowKey, str],
    checkpoint_note: str | None = None,
    sealed: Callable[[str], bytes | None] | None = None,
) -> Report:
    """Prove that a log is what its key signed, and that guarded rows are what its leaves say.

    `rows` has the present digest of every guarded row, and of each key and catalog under the tables
    `$key` and `$catalog`. `checkpoint_note` is a signed note kept outside the store. `sealed` looks
    up a sealed payload by leaf id; without it payloads are not looked at. The store must answer
    from one snapshot. Raises NoteError only when `verifier_key` itself is malformed.
    """
    return _Verification(log, verifier_key, sealed).run(rows, checkpoint_note)


class _Verification:
    def __init__(
        self, log: LogStore, verifier_key: str, sealed: Callable[[str], bytes | None] | None
    ) -> None:
        self._log = log
        self._key = verifier_key
        parse_verifier_key(verifier_key)  # a malformed key is the caller's error, no finding
        self._findings = Findings()
        self._walk = Walk(log, self._findings, sealed)
        self._signed_size = 0
        self._last_note: str | None = None
        self._root_false = False
        self._external: Checkpoint | None = None
        self._extends_external = False

    def run(self, rows: Mapping[RowKey, str], checkpoint_note: str | None) -> Report:
        self._external = self._parse_external(checkpoint_note)
        for number, checkpoint in self._stored_checkpoints():
            self._check_external(up_to=checkpoint.size)
            self._check_stored(number, checkpoint)
        self._check_external(up_to=None)
        self._walk.finish()
        self._check_end()
        self._check_rows(rows)
        frontier = self._walk.frontier
        return self._findings.report(
            frontier.size, frontier.root(), rollback_excluded=self._extends_external
        )

    def _stored_checkpoints(self) -> Iterator[tuple[int, Checkpoint]]:
        number = 0
        for _ in range(PAGES_MAX):
            page = self._log.checkpoints(number, PAGE)
            if not page:
                return
            for note in page:
                self._last_note = note
                checkpoint = self._parse_stored(number, note)
                if checkpoint is not None:
                    yield number, checkpoint
                number += 1

    def _parse_stored(self, number: int, note: str) -> Checkpoint | None:
        checkpoint = read_checkpoint(note, self._key)
        if isinstance(checkpoint, FindingCode):
            self._findings.add(checkpoint, f"checkpoint number {number}")
            return None
        return checkpoint

    def _check_stored(self, number: int, checkpoint: Checkpoint) -> None:
        where = f"checkpoint number {number} of {checkpoint.size} leaves"
        if checkpoint.size <= self._signed_size:
            self._findings.add(FindingCode.CHECKPOINT_ORDER, where)
            return
        before, self._signed_size = self._signed_size, checkpoint.size
        if not self._walk.advance(checkpoint.size):
            self._findings.add(FindingCode.LOG_TRUNCATED, where)
            return
        if self._walk.frontier.root() != checkpoint.root and not self._root_false:
            # One altered leaf falsifies every later root too: only the first tells where.
            self._root_false = True
            detail = f"{where}: altered between indexes {before} and {checkpoint.size - 1}"
            self._findings.add(FindingCode.ROOT_MISMATCH, detail)

    def _parse_external(self, note: str | None) -> Checkpoint | None:
        if note is None:
            return None
        checkpoint = read_checkpoint(note, self._key)
        if isinstance(checkpoint, FindingCode):
            self._findings.add(FindingCode.EXTERNAL_CHECKPOINT_INVALID, checkpoint)
            return None
        return checkpoint

    def _check_external(self, *, up_to: int | None) -> None:
        external = self._external
        if external is None or (up_to is not None and external.size > up_to):
            return
        # A root is known only while the walk stands at its size, so this comes in its turn.
        self._external = None
        if not self._walk.advance(external.size):
            self._findings.add(FindingCode.ROLLED_BACK, f"checkpoint of {external.size} leaves")
        elif self._walk.frontier.root() != external.root:
            self._findings.add(FindingCode.FORKED, f"checkpoint of {external.size} leaves")
        else:
            self._extends_external = True

    def _check_end(self) -> None:
        head, frontier = self._log.head(), self._walk.frontier
        if frontier.size > self._signed_size:
            detail = f"{frontier.size - self._signed_size} leaves after the last checkpoint"
            self._findings.add(FindingCode.LEAVES_UNSIGNED, detail)
        if head.size > frontier.size:
            detail = f"the head says {head.size} leaves, {frontier.size} are there"
            self._findings.add(FindingCode.LOG_TRUNCATED, detail)
        elif head.size < frontier.size or head.frontier != frontier.to_json():
            self._findings.add(FindingCode.HEAD_MISMATCH, "the head is not that of the leaves")
        if head.note != self._last_note:
            self._findings.add(FindingCode.HEAD_MISMATCH, "the head's note is not the last one")

    def _check_rows(self, rows: Mapping[RowKey, str]) -> None:
        waiting = self._waiting()
        if waiting:
            self._findings.add(FindingCode.LEAVES_UNSEQUENCED, f"{len(waiting)} leaves wait")
        for (table, key), difference in differences(self._walk.guards, waiting, rows):
            code = _TABLE_CODES.get(table, _ROW_CODES[difference])
            self._findings.add(code, f"{table} {key}: {difference}")

    def _waiting(self) -> list[Leaf]:
        try:
            return self._log.unsequenced(WAITING_MAX)
        except LeafError as error:
            self._findings.add(FindingCode.LEAF_MALFORMED, f"{error}, of one that waits")
            return []
