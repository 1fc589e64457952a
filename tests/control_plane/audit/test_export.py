"""An export verifies without our store, and any change to it is found. Not the store's log."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.checkpoint import Checkpoint, sign_note
from control_plane.audit.export import PROOFS_MAX, export_partial, export_whole, verify_export
from control_plane.audit.note import NoteError
from control_plane.audit.report import FindingCode
from control_plane.errors import BadInput, Failed
from tests.control_plane.audit.audit_world import KEY, ORIGIN, SEED, World

Code = FindingCode
WORLD = World()
OLDER = WORLD.checkpoint(3)
NEWEST = WORLD.checkpoint(4)
WHOLE = list(export_whole(WORLD.log))
PARTIAL = list(export_partial(WORLD.log, [5, 0, 2]))


def codes(lines: list[str], note: str | None = None) -> set[FindingCode]:
    return {f.code for f in verify_export(lines, KEY, checkpoint_note=note).findings}


def test_a_whole_export_verifies_with_the_verifier_key_alone() -> None:
    found = verify_export(iter(WHOLE), KEY)
    assert (found.intact, found.size, len(WHOLE)) == (True, 7, 8)
    assert not found.rollback_excluded


def test_a_whole_export_is_held_against_an_older_checkpoint() -> None:
    for note in (OLDER, NEWEST):
        assert verify_export(WHOLE, KEY, checkpoint_note=note).rollback_excluded
    forked = sign_note(Checkpoint(ORIGIN, 3, b"r" * 32), ORIGIN, SEED)
    later = sign_note(Checkpoint(ORIGIN, 8, b"r" * 32), ORIGIN, SEED)
    assert codes(WHOLE, forked) == {Code.FORKED}
    assert codes(WHOLE, later) == {Code.ROLLED_BACK}
    assert codes(WHOLE, "nonsense") == {Code.EXTERNAL_CHECKPOINT_INVALID}


def test_a_partial_export_proves_each_leaf_in_the_checkpoint() -> None:
    assert [json.loads(line)["index"] for line in PARTIAL[1:]] == [0, 2, 5]
    found = verify_export(PARTIAL, KEY)
    assert (found.intact, found.size) == (True, 7)
    assert not found.rollback_excluded


@pytest.mark.parametrize("lines", [WHOLE, PARTIAL])
@given(data=st.data())
def test_any_changed_character_that_is_still_an_export_is_found(
    lines: list[str], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(lines) - 1))
    line = lines[number]
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.sampled_from('0123456789abcdefx"{}[],:').filter(lambda c: c != line[at]))
    altered = line[:at] + other + line[at + 1 :]
    assert codes([*lines[:number], altered, *lines[number + 1 :]])


@given(number=st.integers(1, 7))
def test_a_line_left_out_of_a_whole_export_is_found(number: int) -> None:
    lines = WHOLE[:number] + WHOLE[number + 1 :]
    assert codes(lines) == {Code.LOG_TRUNCATED if number == 7 else Code.EXPORT_MALFORMED}


def test_a_line_too_many_is_found() -> None:
    extra = json.loads(WHOLE[-1]) | {"index": 7}
    assert codes([*WHOLE, json.dumps(extra)]) == {Code.LOG_TRUNCATED}


def test_a_proof_moved_to_another_index_is_false() -> None:
    moved = json.loads(PARTIAL[1]) | {"index": 1}
    assert codes([PARTIAL[0], json.dumps(moved)]) == {Code.PROOF_FALSE}


def test_a_proof_that_is_no_hexadecimal_or_is_absent_is_malformed() -> None:
    for proof in (["zz"], None):
        entry = json.loads(PARTIAL[1]) | {"proof": proof}
        assert codes([PARTIAL[0], json.dumps(entry)]) == {Code.EXPORT_MALFORMED}


def test_an_export_under_another_key_or_without_lines_is_refused() -> None:
    header = json.loads(WHOLE[0])
    forged = sign_note(Checkpoint(ORIGIN, 7, b"r" * 32), ORIGIN, bytes(32))
    assert codes([json.dumps(header | {"checkpoint": forged})]) == {Code.SIGNING_KEY_REPLACED}
    assert codes([]) == {Code.EXPORT_MALFORMED}
    with pytest.raises(NoteError):
        verify_export(WHOLE, "no key")


def test_a_line_beyond_the_bound_is_malformed() -> None:
    assert codes([WHOLE[0], " " * (2**20 + 1)]) == {Code.EXPORT_MALFORMED}


def test_leaves_after_the_checkpoint_are_not_exported() -> None:
    world = World()
    world.checkpoint(2)
    world.commit()
    assert len(list(export_whole(world.log))) == 3


@pytest.mark.parametrize("indexes", [[7], [-1], [0] * (PROOFS_MAX + 1)])
def test_indexes_without_a_leaf_or_too_many_are_bad_input(indexes: list[int]) -> None:
    with pytest.raises(BadInput):
        list(export_partial(WORLD.log, indexes))


def test_a_log_without_checkpoint_or_with_lost_leaves_is_not_exported() -> None:
    with pytest.raises(Failed):
        list(export_whole(World().log))
    world = World()
    world.checkpoint(3)
    world.log.entries.pop()
    with pytest.raises(Failed):
        list(export_partial(world.log, [0]))
