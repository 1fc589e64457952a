"""The base of fact sets: attributes of a resource, loaded from our store. Not arguments, and not a decision."""

from __future__ import annotations

from typing import ClassVar

from control_plane.domain.canonical import digest, plain
from control_plane.domain.record import Record


class Facts(Record):
    """One resource kind's attributes.

    ``kind`` is the policy's resource kind. ``relative`` names the fields that say how the resource
    stands to this caller, and ``own`` those that a call in progress writes itself: neither belongs
    in a digest that must hold until the call acts.
    """

    kind: ClassVar[str]
    relative: ClassVar[frozenset[str]] = frozenset({"member", "own"})
    own_writes: ClassVar[frozenset[str]] = frozenset()

    def unread(self) -> frozenset[str]:
        """The fields that nothing decides on here: whoever changes one changes no plan."""
        return frozenset()

    def attributes(self) -> dict[str, object]:
        """The attributes as the policy sees them."""
        return self.model_dump(mode="json")

    def values_digest(self) -> str:
        """The digest of the values used, without those that the call itself writes."""
        left_out = self.relative | self.own_writes | self.unread()
        return digest({name: plain(value) for name, value in self if name not in left_out})
