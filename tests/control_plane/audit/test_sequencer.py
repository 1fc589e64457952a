"""What the sequencer promises. Not the verification of what it made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from control_plane.audit.checkpoint import Checkpoint, parse_and_verify, sign_note
from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import Leaf, leaf_hash
from control_plane.audit.memory import MemoryLog
from control_plane.audit.merkle import tree_root
from control_plane.audit.note import NoteError
from control_plane.audit.port import Fenced, Head
from control_plane.audit.sequencer import BATCH_MAX, HeadRefused, Sequencer
from tests.control_plane.audit.audit_world import KEY, NOW, ORIGIN, SEED, World


def sequencer(world: World, trusted_note: str | None = None) -> Sequencer:
    return Sequencer(world.log, SEED, ORIGIN, lambda: NOW, trusted_note)


def test_waiting_leaves_get_indexes_in_order_and_a_signed_checkpoint() -> None:
    world = World()
    leaves = [world.commit() for _ in range(5)]
    assert world.sequencer.step() == 5
    assert [(e.index, e.leaf) for e in world.log.entries] == list(enumerate(leaves))
    checkpoint = parse_and_verify(world.log.notes[0], KEY)
    assert checkpoint == Checkpoint(ORIGIN, 5, tree_root([leaf_hash(leaf) for leaf in leaves]))
    assert world.log.head().signed_at == NOW
    assert world.log.leaf(3) == leaves[3]
    assert world.log.leaf(5) is None


def test_nothing_is_signed_when_nothing_waits() -> None:
    world = World()
    assert world.sequencer.step() == 0
    world.checkpoint(2)
    assert world.sequencer.step() == 0
    assert len(world.log.notes) == 1


def test_one_step_takes_at_most_a_thousand_leaves() -> None:
    world = World()
    leaf = world.commit()
    world.log.waiting = [leaf.model_copy(update={"id": f"{n:032x}"}) for n in range(BATCH_MAX + 1)]
    assert [world.sequencer.step() for _ in range(3)] == [BATCH_MAX, 1, 0]
    assert world.log.head().size == BATCH_MAX + 1


def test_of_two_sequencers_at_one_head_one_appends_and_the_other_changes_nothing() -> None:
    world = World()
    world.checkpoint(2)
    world.commit()
    stale = world.log.head()
    world.sequencer.step()
    before = (list(world.log.entries), list(world.log.notes), world.log.head())
    world.commit()
    with pytest.raises(Fenced):
        world.log.append([], Head(9, stale.frontier, stale.note, NOW), stale.size)
    assert (world.log.entries, world.log.notes, world.log.head()) == before
    assert sequencer(world).step() == 1


def test_a_step_that_lost_its_fence_leaves_the_leaves_waiting_for_the_next() -> None:
    world = World()
    world.commit()
    rival = sequencer(world)

    class Slow(MemoryLog):
        def unsequenced(self, limit: int) -> list[Leaf]:
            found = super().unsequenced(limit)
            rival.step()
            return found

    slow = Slow()
    slow.__dict__ = world.log.__dict__  # one log, seen through a slower reader
    with pytest.raises(Fenced):
        Sequencer(slow, SEED, ORIGIN, lambda: NOW).step()
    assert [entry.index for entry in world.log.entries] == [0]


def forged_frontier(head: Head) -> Head:
    other = Frontier.from_json(head.frontier)
    nodes = (b"x" * 32, *other.nodes[1:])
    return replace(head, frontier=Frontier(other.size, nodes).to_json())


def signed_by_another_key(head: Head) -> Head:
    frontier = Frontier.from_json(head.frontier)
    checkpoint = Checkpoint(ORIGIN, frontier.size, frontier.root())
    return replace(head, note=sign_note(checkpoint, ORIGIN, bytes(32)))


TAMPERS: dict[str, Callable[[Head], Head]] = {
    "a forged frontier": forged_frontier,
    "a note by another key": signed_by_another_key,
    "no note": lambda head: replace(head, note=None),
    "another size": lambda head: replace(head, size=head.size + 1),
    "a malformed frontier": lambda head: replace(head, frontier="{}"),
    "an empty log": lambda _: Head(0, Frontier().to_json(), None, None),
}


@pytest.mark.parametrize("tamper", TAMPERS)
def test_a_head_that_this_key_did_not_sign_is_not_extended(tamper: str) -> None:
    world = World()
    world.checkpoint(3)
    world.commit()
    world.log.present = TAMPERS[tamper](world.log.head())
    before = list(world.log.notes)
    with pytest.raises(HeadRefused):
        world.sequencer.step()
    assert world.log.notes == before
    assert len(world.log.waiting) == 1


def test_a_log_rolled_back_behind_a_note_kept_elsewhere_is_not_extended() -> None:
    world = World()
    world.checkpoint(2)
    old = world.log.head()
    kept = world.checkpoint(2)
    assert sequencer(world, kept).step() == 0
    world.log.present = old
    world.commit()
    with pytest.raises(HeadRefused):
        sequencer(world, kept).step()


def test_a_trusted_note_by_another_key_is_refused_at_once() -> None:
    world = World()
    with pytest.raises(NoteError):
        sequencer(world, sign_note(Checkpoint(ORIGIN, 1, b"r" * 32), ORIGIN, bytes(32)))
