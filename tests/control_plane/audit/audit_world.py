"""A small log with rows, for the tests of this room. Not a test."""

from __future__ import annotations

from datetime import UTC, datetime

from control_plane.audit.guarded import RowKey, apply_guards
from control_plane.audit.leaf import Guard, Leaf, make_leaf
from control_plane.audit.memory import MemoryLog
from control_plane.audit.note import verifier_key_of
from control_plane.audit.sequencer import Sequencer
from control_plane.secrets.box import new_keypair

ORIGIN = "paybill.example/audit"
SEED = bytes(range(32))
KEY = verifier_key_of(ORIGIN, SEED).text()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PRIVATE, PUBLIC = new_keypair()


def leaf_of(number: int, *guards: Guard) -> tuple[Leaf, bytes]:
    return make_leaf(
        "tenant.changed",
        "acme",
        {"number": number},
        leaf_id=f"{number:032x}",
        salt="ab" * 16,
        recorded_at=NOW,
        public_key=PUBLIC,
        guards=guards,
    )


class World:
    """A log, its sequencer, and the rows as its leaves left them."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.sequencer = Sequencer(self.log, SEED, ORIGIN, lambda: NOW)
        self.rows: dict[RowKey, str] = {}
        self.count = 0

    def commit(self, *guards: Guard) -> Leaf:
        leaf, sealed = leaf_of(self.count, *guards)
        self.count += 1
        self.log.add(leaf, sealed)
        state: dict[RowKey, str | None] = {**self.rows}
        apply_guards(state, leaf)
        self.rows = {row: digest for row, digest in state.items() if digest is not None}
        return leaf

    def checkpoint(self, leaves: int, *guards: Guard) -> str:
        """Commit so many leaves, the last with guards; sequence them; the note."""
        for _ in range(leaves - 1):
            self.commit()
        self.commit(*guards)
        self.sequencer.step()
        return self.log.notes[-1]
