"""Every single change to a log, its notes or its rows is found. Not the making of logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.checkpoint import Checkpoint, sign_note
from control_plane.audit.frontier import Frontier
from control_plane.audit.guarded import catalog_guard, key_digest, key_guard, row_guard
from control_plane.audit.leaf import Leaf, LeafError, leaf_hash
from control_plane.audit.memory import MemoryLog
from control_plane.audit.note import NoteError
from control_plane.audit.port import IndexedLeaf
from control_plane.audit.report import FINDINGS_MAX, FindingCode, Report
from control_plane.audit.sequencer import Sequencer
from control_plane.audit.verify import verify
from tests.control_plane.audit.audit_world import KEY, NOW, ORIGIN, SEED, World, leaf_of

Code = FindingCode
ROW = {"id": "acme", "state": "active"}


@pytest.fixture
def world() -> World:
    return built()


def built() -> World:
    """Ten leaves under three checkpoints: rows, one of them deleted, a key and a catalog."""
    world = World()
    world.checkpoint(3, row_guard("tenant", "acme", ROW), row_guard("tenant", "gone", ROW))
    world.checkpoint(4, row_guard("tenant", "gone", None), key_guard("audit", b"p" * 32))
    world.checkpoint(3, catalog_guard("main", "c" * 64), row_guard("tenant", "b", ROW))
    return world


def report(world: World, note: str | None = None) -> Report:
    return verify(
        world.log, KEY, rows=world.rows, checkpoint_note=note, sealed=world.log.sealed.get
    )


def codes(world: World, note: str | None = None) -> set[FindingCode]:
    return {finding.code for finding in report(world, note).findings}


def resigned(world: World, seed: bytes) -> None:
    """Rebuild tree and notes over whatever leaves there are, as who holds a key could."""
    log = MemoryLog()
    log.waiting = [entry.leaf for entry in world.log.entries]
    log.sealed = world.log.sealed
    Sequencer(log, seed, ORIGIN, lambda: NOW).step()
    world.log = log


def test_an_untouched_log_is_intact_with_every_row_key_and_catalog(world: World) -> None:
    found = report(world)
    assert found.intact
    assert found.size == 10
    assert found.root == Frontier.from_json(world.log.head().frontier).root()


def test_an_empty_log_without_rows_is_intact() -> None:
    assert report(World()).intact


def test_without_a_checkpoint_kept_elsewhere_a_rollback_is_not_excluded(world: World) -> None:
    found = report(world)
    assert not found.rollback_excluded
    assert "cannot be excluded" in found.statement()


def test_with_any_earlier_checkpoint_kept_elsewhere_a_rollback_is_excluded(world: World) -> None:
    for note in list(world.log.notes):
        found = report(world, note)
        assert found.intact
        assert found.rollback_excluded
        assert "extends" in found.statement()


def test_a_checkpoint_between_the_stored_ones_is_compared_too(world: World) -> None:
    frontier = Frontier()
    for entry in world.log.entries[:5]:
        frontier = frontier.append(leaf_hash(entry.leaf))
    note = sign_note(Checkpoint(ORIGIN, 5, frontier.root()), ORIGIN, SEED)
    assert report(world, note).rollback_excluded
    forked = sign_note(Checkpoint(ORIGIN, 5, b"r" * 32), ORIGIN, SEED)
    assert codes(world, forked) == {Code.FORKED}
    assert not report(world, forked).rollback_excluded


LEAF_CHANGES: dict[str, Callable[[Leaf], object]] = {
    "id": lambda leaf: leaf.id[:-1] + ("0" if leaf.id[-1] != "0" else "1"),
    "kind": lambda leaf: leaf.kind + "x",
    "tenant": lambda leaf: leaf.tenant + "x",
    "recorded_at": lambda _: "2026-01-02T03:04:05.999999Z",
    "commitment": lambda _: "0" * 64,
    "sealed_digest": lambda _: "0" * 64,
    "guards": lambda leaf: (*leaf.guards, row_guard("tenant", "added", None)),
}


@given(index=st.integers(0, 9), field=st.sampled_from(sorted(LEAF_CHANGES)))
def test_any_changed_field_of_any_leaf_falsifies_the_root(index: int, field: str) -> None:
    world = built()
    entry = world.log.entries[index]
    leaf = entry.leaf.model_copy(update={field: LEAF_CHANGES[field](entry.leaf)})
    world.log.entries[index] = IndexedLeaf(index, leaf)
    assert Code.ROOT_MISMATCH in codes(world)


@given(index=st.integers(0, 9))
def test_a_leaf_taken_out_of_the_log_is_found(index: int) -> None:
    world = built()
    del world.log.entries[index]
    assert Code.LOG_TRUNCATED in codes(world)
    assert (Code.LEAF_GAP in codes(world)) == (index < 9)


@given(first=st.integers(0, 9), second=st.integers(0, 9))
def test_two_leaves_exchanged_are_found(first: int, second: int) -> None:
    world = built()
    entries = world.log.entries
    one, other = entries[first].leaf, entries[second].leaf
    entries[first], entries[second] = IndexedLeaf(first, other), IndexedLeaf(second, one)
    assert (Code.ROOT_MISMATCH in codes(world)) == (first != second)


def test_the_place_of_an_altered_leaf_is_told_to_a_checkpoints_breadth(world: World) -> None:
    leaf = world.log.entries[4].leaf.model_copy(update={"kind": "other"})
    world.log.entries[4] = IndexedLeaf(4, leaf)
    found = [f for f in report(world).findings if f.code is Code.ROOT_MISMATCH]
    assert [f.detail.rsplit(": ")[-1] for f in found] == ["altered between indexes 3 and 6"]


def test_a_leaf_added_behind_the_sequencer_is_found(world: World) -> None:
    leaf, sealed = leaf_of(99)
    world.log.sealed[leaf.id] = sealed
    world.log.entries.append(IndexedLeaf(10, leaf))
    assert codes(world) == {Code.LEAVES_UNSIGNED, Code.HEAD_MISMATCH}


@pytest.mark.long
@given(data=st.data(), number=st.integers(0, 2))
def test_any_changed_character_of_a_stored_note_is_found(data: st.DataObject, number: int) -> None:
    world = built()
    note = world.log.notes[number]
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters().filter(lambda c: c != note[at]))
    world.log.notes[number] = note[:at] + other + note[at + 1 :]
    wanted = {Code.CHECKPOINT_MALFORMED, Code.SIGNATURE_FALSE, Code.SIGNING_KEY_REPLACED}
    assert codes(world) & wanted


def test_a_note_signed_by_another_key_is_told_apart(world: World) -> None:
    checkpoint = Checkpoint(ORIGIN, 7, b"r" * 32)
    world.log.notes[1] = sign_note(checkpoint, ORIGIN, bytes(32))
    assert codes(world) == {Code.SIGNING_KEY_REPLACED}


def test_a_whole_log_signed_anew_by_another_key_is_found(world: World) -> None:
    resigned(world, bytes(32))
    assert Code.SIGNING_KEY_REPLACED in codes(world)
    assert Code.LEAVES_UNSIGNED in codes(world)


def test_a_note_of_another_origin_under_the_same_key_is_found(world: World) -> None:
    world.log.notes[0] = sign_note(Checkpoint("other.example", 3, b"r" * 32), ORIGIN, SEED)
    assert codes(world) == {Code.ORIGIN_CHANGED}


def test_notes_out_of_their_order_are_found(world: World) -> None:
    notes = world.log.notes
    notes[0], notes[1] = notes[1], notes[0]
    assert codes(world) == {Code.CHECKPOINT_ORDER}


def test_a_last_note_taken_away_leaves_leaves_unsigned(world: World) -> None:
    world.log.notes.pop()
    assert codes(world) == {Code.LEAVES_UNSIGNED, Code.HEAD_MISMATCH}


@pytest.mark.parametrize("field", ["size", "frontier", "note"])
def test_a_changed_head_is_found(world: World, field: str) -> None:
    head = world.log.present
    world.log.present = {
        "size": replace(head, size=9),
        "frontier": replace(head, frontier=Frontier().to_json()),
        "note": replace(head, note=None),
    }[field]
    assert codes(world) == {Code.HEAD_MISMATCH}


def test_a_head_of_leaves_that_are_not_there_is_a_truncation(world: World) -> None:
    world.log.present = replace(world.log.present, size=11)
    assert codes(world) == {Code.LOG_TRUNCATED}


def test_a_clean_rollback_is_found_with_a_kept_checkpoint_and_only_so() -> None:
    world = World()
    world.checkpoint(3, row_guard("tenant", "acme", ROW))
    old = (world.log.present, list(world.log.entries), list(world.log.notes), dict(world.rows))
    kept = world.checkpoint(2, row_guard("tenant", "acme", None))
    world.log.present, world.log.entries, world.log.notes, world.rows = old
    assert codes(world) == set()
    assert not report(world).rollback_excluded
    assert codes(world, kept) == {Code.ROLLED_BACK}
    assert not report(world, kept).rollback_excluded


def test_a_log_rewritten_with_the_stolen_key_is_found_with_a_kept_checkpoint(world: World) -> None:
    kept = world.log.notes[0]
    leaf = world.log.entries[1].leaf.model_copy(update={"kind": "other"})
    world.log.entries[1] = IndexedLeaf(1, leaf)
    resigned(world, SEED)
    assert codes(world) == set()
    assert codes(world, kept) == {Code.FORKED}


@pytest.mark.parametrize(
    "note", ["", "nonsense", sign_note(Checkpoint("o", 1, b"r" * 32), "o", SEED)]
)
def test_a_kept_checkpoint_that_does_not_verify_excludes_nothing(world: World, note: str) -> None:
    assert codes(world, note) == {Code.EXTERNAL_CHECKPOINT_INVALID}
    assert not report(world, note).rollback_excluded


def test_each_change_to_the_rows_is_found_by_its_own_code(world: World) -> None:
    def found(row: tuple[str, str], digest: str | None) -> set[FindingCode]:
        changed = {**world.rows, row: digest or ""}
        if digest is None:
            del changed[row]
        return {f.code for f in verify(world.log, KEY, rows=changed).findings}

    assert found(("tenant", "acme"), "0" * 64) == {Code.ROW_ALTERED}
    assert found(("tenant", "acme"), None) == {Code.ROW_MISSING}
    assert found(("tenant", "gone"), "0" * 64) == {Code.ROW_UNWRITTEN}
    assert found(("tenant", "never"), "0" * 64) == {Code.ROW_UNWRITTEN}
    assert found(("$key", "audit"), key_digest(b"q" * 32)) == {Code.KEY_CHANGED}
    assert found(("$key", "new"), key_digest(b"q" * 32)) == {Code.KEY_CHANGED}
    assert found(("$catalog", "main"), "0" * 64) == {Code.CATALOG_CHANGED}
    assert found(("$catalog", "main"), None) == {Code.CATALOG_CHANGED}


def test_leaves_that_wait_are_reported_and_account_for_their_rows(world: World) -> None:
    world.commit(row_guard("tenant", "acme", {"id": "acme", "state": "suspended"}))
    assert codes(world) == {Code.LEAVES_UNSEQUENCED}
    world.rows["tenant", "acme"] = "0" * 64
    assert codes(world) == {Code.LEAVES_UNSEQUENCED, Code.ROW_ALTERED}


@given(index=st.integers(0, 9), data=st.data())
def test_an_altered_or_missing_payload_is_found_without_any_private_key(
    index: int, data: st.DataObject
) -> None:
    world = built()
    leaf_id = world.log.entries[index].leaf.id
    sealed = bytearray(world.log.sealed[leaf_id])
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1
    world.log.sealed[leaf_id] = bytes(sealed)
    assert codes(world) == {Code.PAYLOAD_ALTERED}
    del world.log.sealed[leaf_id]
    assert codes(world) == {Code.PAYLOAD_MISSING}


def test_a_leaf_that_cannot_be_read_is_found_and_not_raised(world: World) -> None:
    class Unreadable(MemoryLog):
        def leaves(self, start: int, limit: int) -> list[IndexedLeaf]:
            raise LeafError

    log = Unreadable()
    log.notes = world.log.notes
    log.present = world.log.present
    found = {finding.code for finding in verify(log, KEY, rows={}).findings}
    assert found == {Code.LEAF_MALFORMED, Code.LOG_TRUNCATED}


def test_a_malformed_verifier_key_is_the_callers_error(world: World) -> None:
    with pytest.raises(NoteError):
        verify(world.log, "no key", rows={})


def test_findings_are_bounded_and_the_rest_counted() -> None:
    rows = {("tenant", str(n)): "0" * 64 for n in range(FINDINGS_MAX + 5)}
    found = verify(MemoryLog(), KEY, rows=rows)
    assert (len(found.findings), found.left_out) == (FINDINGS_MAX, 5)


def test_a_log_of_several_pages_is_read_to_its_end() -> None:
    world = World()
    leaf = world.commit()
    world.log.waiting = [leaf.model_copy(update={"id": f"{n:032x}"}) for n in range(2_100)]
    while world.sequencer.step():
        pass
    found = verify(world.log, KEY, rows=world.rows)
    assert (found.intact, found.size) == (True, 2_100)
