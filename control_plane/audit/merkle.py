"""The Merkle tree of RFC 9162: hashes, roots and proofs over lists. Not the log itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def hash_leaf(data: bytes) -> bytes:
    """The hash of one entry: 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The tree hash of a list of leaf hashes; of none, the hash of nothing."""
    if not hashes:
        return EMPTY_ROOT
    return _subtree(hashes, 0, len(hashes))


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of all `hashes`, from the leaf upwards.

    Raises IndexError when there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError("no leaf has this index")
    path: list[bytes] = []
    start, end = 0, len(hashes)
    while end - start > 1:  # halves each time: at most 64 turns
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(hashes, middle, end))
            end = middle
        else:
            path.append(_subtree(hashes, start, middle))
            start = middle
    return path[::-1]


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `proof` shows `leaf_hash` at `index` in the tree of `size` leaves under `root`."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf_hash
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = hash_node(step, found)
            node, last = _climb_left(node, last)
        else:
            found = hash_node(found, step)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the first `old_size` leaves are the beginning of `hashes`.

    Empty when `old_size` is 0 or all. Raises IndexError when it is neither nor between.
    """
    size = len(hashes)
    if not 0 <= old_size <= size:
        raise IndexError("no earlier tree has this size")
    if old_size in (0, size):
        return []
    path: list[bytes] = []
    start, end, whole = 0, size, True
    while old_size != end:  # halves each time: at most 64 turns
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_subtree(hashes, middle, end))
            end = middle
        else:
            path.append(_subtree(hashes, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(_subtree(hashes, start, end))
    return path[::-1]


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the tree of `new_size` begins with the tree of `old_size`."""
    if not 0 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if not proof:
        return False
    return _walk_consistency(old_size, new_size, old_root, new_root, proof)


def _walk_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    # A complete old tree is itself a node of the new one, so the proof leaves its hash out.
    complete = old_size & (old_size - 1) == 0
    path = [old_root, *proof] if complete else list(proof)
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = hash_node(step, old), hash_node(step, new)
            node, last = _climb_left(node, last)
        else:
            new = hash_node(new, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _climb_left(node: int, last: int) -> tuple[int, int]:
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _split(size: int) -> int:
    """The largest power of two below `size` (which is at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree(hashes: Sequence[bytes], start: int, end: int) -> bytes:
    if end - start == 1:
        return hashes[start]
    middle = start + _split(end - start)
    return hash_node(_subtree(hashes, start, middle), _subtree(hashes, middle, end))
