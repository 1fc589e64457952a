"""The gate over rows, for one caller: which rows a rule leaves, and what it says of those in hand. Reads no row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json
from control_plane.facts.base import Facts
from control_plane.ports import Restriction
from graphs.gatekeeper import Gatekeeper, Witness
from policies.request import RESOURCES_MAX, Attribute, Resource


class KeptRows:
    """The port RowGate: a collection without rules of its own is not asked about."""

    def __init__(
        self,
        keeper: Gatekeeper,
        caller: Caller,
        rules: Mapping[str, frozenset[str]],
        witness: Witness,
    ) -> None:
        self._keeper = keeper
        self._caller = caller
        self._rules = rules
        self._witness = witness

    def ruled(self, collection: str) -> bool:
        """Whether the collection's rows have a policy of their own."""
        return collection in self._rules

    def restriction(self, collection: str, actions: Sequence[str]) -> Restriction:
        """The rows on which all of ``actions`` are allowed."""
        if collection not in self._rules:
            return Restriction()
        plan = self._keeper.planned(self._caller, kind_of(collection), tuple(actions))
        return Restriction(filter=plan.filter, none=plan.kind == "none")

    def judged(
        self, collection: str, images: Mapping[str, Mapping[str, Json]], actions: Sequence[str]
    ) -> Mapping[str, frozenset[str]]:
        """Of each image which of ``actions`` are allowed, in as few questions as the engine takes."""
        named = self._rules.get(collection)
        if named is None or not images:
            return dict.fromkeys(images, frozenset(actions))
        kind = kind_of(collection)
        resources = [
            Resource(
                kind, row_id, {name: image.get(name) for name in sorted(named)}, tuple(actions)
            )
            for row_id, image in images.items()
        ]
        said: dict[str, frozenset[str]] = {}
        for start in range(0, len(resources), RESOURCES_MAX):
            part = resources[start : start + RESOURCES_MAX]
            said |= self._keeper.judged(self._caller, part, self._witness)
        return said

    @property
    def holder(self) -> tuple[str, str]:
        """The principal and the actor of the caller."""
        return self._caller.principal, self._caller.actor

    def standing(self, subject_id: str, facts: Facts, actions: Sequence[str]) -> frozenset[str]:
        """What is allowed on an object as a whole, whether it has rows with rules or not."""
        attributes = cast("dict[str, Attribute]", facts.attributes())
        asked = Resource(facts.kind, subject_id, attributes, tuple(actions))
        return self._keeper.judged(self._caller, [asked], self._witness)[subject_id]


def kind_of(collection: str) -> str:
    """The policy's resource kind of a collection's rows."""
    return f"rows_{collection}"
