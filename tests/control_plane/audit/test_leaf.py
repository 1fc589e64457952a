"""What one leaf promises. Not the tree over leaves."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.guarded import (
    Difference,
    after,
    apply_guards,
    broken_chains,
    catalog_guard,
    differences,
    key_guard,
    latest_guards,
    row_guard,
)
from control_plane.audit.leaf import (
    Guard,
    Leaf,
    LeafError,
    leaf_hash,
    make_leaf,
    open_leaf,
    parse_leaf,
    row_digest,
)
from control_plane.domain.canonical import canonical
from control_plane.secrets.box import BoxError, new_keypair
from tests.control_plane.audit.audit_world import NOW, PRIVATE, PUBLIC, leaf_of

ROW = {"id": "acme", "state": "active"}
SALT = "ab" * 16


def made(leaf_id: str = "00" * 16, salt: str = SALT, kind: str = "call") -> tuple[Leaf, bytes]:
    return make_leaf(
        kind,
        "acme",
        {"tool": "t", "n": 1},
        leaf_id=leaf_id,
        salt=salt,
        recorded_at=NOW,
        public_key=PUBLIC,
    )


def test_the_payload_comes_back_to_the_holder_of_the_private_key() -> None:
    leaf, sealed = made()
    assert open_leaf(sealed, PRIVATE, leaf) == {"tool": "t", "n": 1}


def test_the_commitment_is_the_hash_of_salt_and_payload() -> None:
    leaf, _ = made()
    content = canonical({"salt": SALT, "payload": {"tool": "t", "n": 1}})
    assert leaf.commitment == hashlib.sha256(content).hexdigest()
    assert made(salt="cd" * 16)[0].commitment != leaf.commitment


def test_the_public_part_and_the_sealed_bytes_show_nothing_of_the_payload() -> None:
    leaf, sealed = make_leaf(
        "call",
        "acme",
        {"secret": "hunter2"},
        leaf_id="00" * 16,
        salt=SALT,
        recorded_at=NOW,
        public_key=PUBLIC,
    )
    assert b"hunter2" not in canonical(leaf) + sealed
    assert SALT.encode() not in canonical(leaf) + sealed


def test_a_sealed_payload_moved_to_another_leaf_does_not_open() -> None:
    _, sealed = made("00" * 16)
    other, _ = made("11" * 16)
    with pytest.raises(BoxError):
        open_leaf(sealed, PRIVATE, other)


def test_a_payload_sealed_anew_by_somebody_else_breaks_the_commitment() -> None:
    leaf, _ = made(salt=SALT)
    _, forged = made(salt="cd" * 16)
    with pytest.raises(LeafError) as refused:
        open_leaf(forged, PRIVATE, leaf)
    assert refused.value.code == "leaf_commitment"


def test_another_tenants_key_opens_nothing() -> None:
    leaf, sealed = made()
    with pytest.raises(BoxError):
        open_leaf(sealed, new_keypair()[0], leaf)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "11" * 16},
        {"kind": "other"},
        {"tenant": "other"},
        {"recorded_at": "2026-01-02T03:04:05.000001Z"},
        {"commitment": "0" * 64},
        {"sealed_digest": "0" * 64},
        {"guards": (row_guard("tenant", "acme", None),)},
    ],
)
def test_every_public_field_is_under_the_leafs_hash(change: dict[str, object]) -> None:
    leaf, _ = made()
    assert leaf_hash(leaf.model_copy(update=change)) != leaf_hash(leaf)
    assert set(Leaf.model_fields) >= set(change)


def test_a_leaf_comes_back_from_its_json_with_the_same_hash() -> None:
    leaf, _ = leaf_of(1, row_guard("tenant", "acme", ROW), row_guard("tenant", "gone", None))
    assert parse_leaf(canonical(leaf)) == leaf
    assert leaf_hash(parse_leaf(leaf.model_dump_json())) == leaf_hash(leaf)


def test_a_malformed_leaf_is_refused_by_field_and_never_by_value() -> None:
    with pytest.raises(LeafError, match=r"^leaf: kind$"):
        made(kind="Not A Kind")
    with pytest.raises(LeafError, match=r"^leaf: salt$"):
        made(salt="secret-salt")
    with pytest.raises(LeafError):
        parse_leaf("{}")


def test_a_leaf_says_one_thing_of_one_row() -> None:
    with pytest.raises(LeafError, match="guards"):
        leaf_of(1, row_guard("tenant", "acme", ROW), row_guard("tenant", "acme", None))


def test_the_last_leaf_has_the_last_word_on_a_row() -> None:
    leaves = [
        leaf_of(1, row_guard("tenant", "acme", ROW), row_guard("tenant", "b", ROW))[0],
        leaf_of(2, row_guard("tenant", "acme", {"id": "acme"}))[0],
        leaf_of(3, row_guard("tenant", "b", None))[0],
    ]
    assert latest_guards(leaves) == {
        ("tenant", "acme"): row_digest({"id": "acme"}),
        ("tenant", "b"): None,
    }


def test_a_change_that_found_another_row_than_the_last_leaf_left_breaks_the_chain() -> None:
    absent = row_guard("tenant", "acme", None)
    first = after(absent, row_guard("tenant", "acme", ROW))
    second = after(first, absent)
    assert (first.before, second.before) == ("absent", first.digest)
    state: dict[tuple[str, str], str | None] = {}
    for number, guard in enumerate((first, second, first)):
        leaf = leaf_of(number, guard)[0]
        assert list(broken_chains(state, leaf)) == []
        apply_guards(state, leaf)
    assert list(broken_chains(state, leaf_of(9, first)[0])) == [("tenant", "acme")]
    assert list(broken_chains(state, leaf_of(9, absent)[0])) == []


def test_a_row_that_leaves_wait_for_must_be_as_one_of_them_says() -> None:
    waiting = [leaf_of(1, Guard(table="t", key="k", digest="a" * 64))[0]]
    expected: dict[tuple[str, str], str | None] = {("t", "k"): "b" * 64}
    assert list(differences(expected, waiting, {("t", "k"): "a" * 64})) == []
    for actual in ("b" * 64, "c" * 64):
        found = list(differences(expected, waiting, {("t", "k"): actual}))
        assert found == [(("t", "k"), Difference.ALTERED)]
    assert list(differences(expected, waiting, {})) == [(("t", "k"), Difference.MISSING)]


@given(
    expected=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([None, "0", "1"])),
    rows=st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["0", "1"])),
)
def test_rows_and_guards_differ_exactly_where_their_digests_do(
    expected: dict[str, str | None], rows: dict[str, str]
) -> None:
    said = {("t", key): digest for key, digest in expected.items()}
    there = {("t", key): digest for key, digest in rows.items()}
    found = {key for (_, key), _ in differences(said, [], there)}
    assert found == {key for key in "abcd" if expected.get(key) != rows.get(key)}


def test_keys_and_catalogs_are_guarded_under_tables_no_row_can_have() -> None:
    guards = (key_guard("audit", b"p" * 32), catalog_guard("main", "0" * 64))
    assert [guard.table for guard in guards] == ["$key", "$catalog"]
    assert key_guard("audit", None).digest is None
