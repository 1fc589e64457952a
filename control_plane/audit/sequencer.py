"""The sequencer: gives waiting leaves their indexes, signs the tree. Not the clock that runs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from control_plane.audit.checkpoint import Checkpoint, parse_and_verify, sign_note
from control_plane.audit.frontier import Frontier, FrontierError
from control_plane.audit.leaf import leaf_hash
from control_plane.audit.note import NoteError, verifier_key_of
from control_plane.audit.port import Head, IndexedLeaf, LogStore
from control_plane.errors import PaybillError

BATCH_MAX: Final = 1_000


class HeadRefused(PaybillError):
    """The stored head is not one that this key signed, or lies behind one that it did."""

    code = "audit_head"


class Sequencer:
    """Extends one log under one key. Several may run: the store's fence lets one of them win."""

    def __init__(
        self,
        log: LogStore,
        seed: bytes,
        origin: str,
        now: Callable[[], datetime],
        trusted_note: str | None = None,
    ) -> None:
        """`seed` is the audit key, `origin` the log's name and the key's name in its notes.

        `trusted_note` is a checkpoint kept outside the store: a head behind it is refused. Raises
        NoteError when the note is not by this key, or the origin cannot be a key's name.
        """
        self._log = log
        self._seed = seed
        self._origin = origin
        self._now = now
        self._key = verifier_key_of(origin, seed).text()
        self._last = None if trusted_note is None else parse_and_verify(trusted_note, self._key)

    def step(self) -> int:
        """Sequence up to 1,000 waiting leaves under one new checkpoint; how many it was.

        Raises Fenced when another sequencer was quicker, HeadRefused when the stored head must not
        be extended, and whatever the store raises; nothing is appended then.
        """
        head = self._log.head()
        frontier = self._trusted(head)
        waiting = self._log.unsequenced(BATCH_MAX)[:BATCH_MAX]
        if not waiting:
            return 0
        entries = [IndexedLeaf(head.size + n, leaf) for n, leaf in enumerate(waiting)]
        for leaf in waiting:
            frontier = frontier.append(leaf_hash(leaf))
        checkpoint = Checkpoint(self._origin, frontier.size, frontier.root())
        note = sign_note(checkpoint, self._origin, self._seed)
        new_head = Head(frontier.size, frontier.to_json(), note, self._now())
        self._log.append(entries, new_head, head.size)
        self._last = checkpoint
        return len(entries)

    def _trusted(self, head: Head) -> Frontier:
        # Whoever can write the store must not get a tree of their making signed.
        try:
            frontier = Frontier.from_json(head.frontier)
            signed = self._signed(head)
        except (FrontierError, NoteError):
            raise HeadRefused from None
        here = Checkpoint(self._origin, frontier.size, frontier.root())
        if signed != here or head.size != here.size:
            raise HeadRefused
        self._refuse_rollback(here)
        self._last = here
        return frontier

    def _signed(self, head: Head) -> Checkpoint:
        if head.note is None:
            return Checkpoint(self._origin, 0, Frontier().root())
        return parse_and_verify(head.note, self._key)

    def _refuse_rollback(self, here: Checkpoint) -> None:
        last = self._last
        if last is None:
            return
        if here.size < last.size or (here.size == last.size and here != last):
            raise HeadRefused("the stored head lies behind a checkpoint that was signed")
