"""The Merkle tree against published roots, and its proofs against alteration. Not the log."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from control_plane.audit.frontier import Frontier, FrontierError
from control_plane.audit.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    hash_leaf,
    inclusion_proof,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The reference data of Certificate Transparency: eight entries, and the root at each size.
ENTRIES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hash_leaf(bytes.fromhex(entry)) for entry in ENTRIES]
SIZE_MAX = 70


def hashes(size: int) -> list[bytes]:
    return [hash_leaf(str(n).encode()) for n in range(size)]


def grown(leaves: list[bytes]) -> Frontier:
    frontier = Frontier()
    for leaf in leaves:
        frontier = frontier.append(leaf)
    return frontier


def flipped(raw: bytes, bit: int) -> bytes:
    altered = bytearray(raw)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots_come_out(size: int) -> None:
    assert tree_root(LEAVES[:size]).hex() == ROOTS[size]
    assert grown(LEAVES[:size]).root().hex() == ROOTS[size]


def test_the_published_audit_path_of_the_sixth_of_eight_leaves_comes_out() -> None:
    assert [node.hex() for node in inclusion_proof(LEAVES, 5)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_every_leaf_of_every_small_tree_has_a_proof_that_verifies_nowhere_else() -> None:
    for size in range(1, 20):
        leaves = hashes(size)
        root = tree_root(leaves)
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            fits = [verify_inclusion(leaves[index], n, size, proof, root) for n in range(size + 1)]
            assert fits == [n == index for n in range(size + 1)]


def test_every_small_tree_is_consistent_with_every_earlier_one() -> None:
    for size in range(20):
        leaves = hashes(size)
        for old in range(size + 1):
            roots = tree_root(leaves[:old]), tree_root(leaves)
            assert verify_consistency(old, size, *roots, consistency_proof(leaves, old))


@given(data=st.data(), size=st.integers(1, SIZE_MAX))
def test_an_altered_inclusion_proof_does_not_verify(data: st.DataObject, size: int) -> None:
    leaves = hashes(size)
    root, index = tree_root(leaves), data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(leaves, index)
    bit = data.draw(st.integers(0, 255))
    assert not verify_inclusion(flipped(leaves[index], bit), index, size, proof, root)
    assert not verify_inclusion(leaves[index], index, size, proof, flipped(root, bit))
    assert not verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assume(proof)
    at = data.draw(st.integers(0, len(proof) - 1))
    altered = [flipped(n, bit) if i == at else n for i, n in enumerate(proof)]
    assert not verify_inclusion(leaves[index], index, size, altered, root)
    assert not verify_inclusion(leaves[index], index, size, proof[:at] + proof[at + 1 :], root)


@given(data=st.data(), size=st.integers(2, SIZE_MAX))
def test_an_altered_consistency_proof_does_not_verify(data: st.DataObject, size: int) -> None:
    leaves, old = hashes(size), data.draw(st.integers(1, size - 1))
    before, after = tree_root(leaves[:old]), tree_root(leaves)
    proof = consistency_proof(leaves, old)
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    altered = [flipped(n, bit) if i == at else n for i, n in enumerate(proof)]
    assert verify_consistency(old, size, before, after, proof)
    assert not verify_consistency(old, size, before, after, altered)
    assert not verify_consistency(old, size, before, after, proof[:at] + proof[at + 1 :])
    assert not verify_consistency(old, size, before, after, [*proof, after])
    assert not verify_consistency(old, size, flipped(before, bit), after, proof)
    assert not verify_consistency(old, size, before, flipped(after, bit), proof)
    assert not verify_consistency(size, old, after, before, proof)


def test_trees_of_one_size_are_consistent_only_when_they_are_one_tree() -> None:
    assert verify_consistency(3, 3, b"r" * 32, b"r" * 32, [])
    assert not verify_consistency(3, 3, b"r" * 32, b"s" * 32, [])
    assert not verify_consistency(0, 3, b"r" * 32, b"s" * 32, [])
    assert verify_consistency(0, 3, EMPTY_ROOT, b"s" * 32, [])


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_for_a_leaf_or_tree_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(hashes(3), index)
    with pytest.raises(IndexError):
        consistency_proof(hashes(2), index)


@given(size=st.integers(0, 200))
def test_a_frontier_grown_leaf_by_leaf_has_the_root_of_the_whole_tree(size: int) -> None:
    frontier = grown(hashes(size))
    assert frontier.root() == tree_root(hashes(size))
    assert len(frontier.nodes) == size.bit_count()
    assert Frontier.from_json(frontier.to_json()) == frontier


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"nodes":[],"size":1}',
        '{"nodes":["00"],"size":1}',
        '{"nodes":["zz"],"size":1}',
        '{"nodes":[],"size":-1}',
        '{"nodes":[],"size":0,"more":1}',
        '{"nodes":["' + hashlib.sha256(b"").hexdigest() + '"],"size":0}',
    ],
)
def test_a_frontier_of_no_possible_tree_is_refused(text: str) -> None:
    with pytest.raises(FrontierError):
        Frontier.from_json(text)
