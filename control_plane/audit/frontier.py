"""The frontier of a Merkle tree: what is needed to append and to know the root. Not its leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.audit.merkle import EMPTY_ROOT, HASH_BYTES, hash_node
from control_plane.domain.canonical import canonical
from control_plane.errors import PaybillError

_LEVELS_MAX: Final = 62


class FrontierError(PaybillError):
    """A stored frontier is malformed."""

    code = "frontier"


class _Text(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: int = Field(ge=0, lt=2**_LEVELS_MAX)
    nodes: tuple[str, ...] = Field(max_length=_LEVELS_MAX)


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the complete subtrees of a tree of `size` leaves, the largest first."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def append(self, leaf_hash: bytes) -> Frontier:
        """The frontier with one leaf more; costs at most one hash a level."""
        nodes, size = list(self.nodes), self.size
        node = leaf_hash
        while size & 1:
            node = hash_node(nodes.pop(), node)
            size >>= 1
        return Frontier(self.size + 1, (*nodes, node))

    def root(self) -> bytes:
        """The tree hash of everything appended: 32 bytes."""
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in self.nodes[-2::-1]:
            root = hash_node(node, root)
        return root

    def to_json(self) -> str:
        """Canonical JSON text: the size and the nodes in hexadecimal."""
        nodes = [node.hex() for node in self.nodes]
        return canonical({"size": self.size, "nodes": nodes}).decode("ascii")

    @classmethod
    def from_json(cls, text: str) -> Frontier:
        """Read `to_json` back. Raises FrontierError when it is not the shape of any tree."""
        try:
            parsed = _Text.model_validate_json(text)
            nodes = tuple(bytes.fromhex(node) for node in parsed.nodes)
        except (ValidationError, ValueError):
            raise FrontierError from None
        if len(nodes) != parsed.size.bit_count() or any(len(n) != HASH_BYTES for n in nodes):
            raise FrontierError
        return cls(parsed.size, nodes)
