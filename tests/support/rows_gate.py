"""A gate over rows for handlers without one: no collection has rules. Not a policy engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from control_plane.domain.canonical import Json
from control_plane.facts.base import Facts
from control_plane.ports import Restriction


class Unruled:
    """What the steps answer of a collection whose rows have no policy."""

    def ruled(self, collection: str) -> bool:
        return False

    def restriction(self, collection: str, actions: Sequence[str]) -> Restriction:
        return Restriction()

    def judged(
        self, collection: str, images: Mapping[str, Mapping[str, Json]], actions: Sequence[str]
    ) -> Mapping[str, frozenset[str]]:
        return dict.fromkeys(images, frozenset(actions))

    @property
    def holder(self) -> tuple[str, str]:
        return "ann", "agent-1"

    def standing(self, subject_id: str, facts: Facts, actions: Sequence[str]) -> frozenset[str]:
        return frozenset(actions)
