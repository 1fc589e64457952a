"""One resource of a plan as its JSON tells it: what is done to it, and what it would then be. Judges nothing.

A value is *known*; or *unset*, because the configuration says nothing of it and the provider's default
holds; or *unknown*, because the configuration gives it by something that is not known before the apply.
Terraform's `after_unknown` marks the last two alike, and so what the configuration names tells them
apart. What stands in no static block of it (a `dynamic` block) is taken as given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

Kind: TypeAlias = Literal["", "create", "update", "replace", "delete"]
Tree: TypeAlias = Mapping[str, Any]

MODULE_DEPTH_MAX: Final = 16
_INDEX: Final = re.compile(r'\[(?:"(?:[^"\\]|\\.)*"|\d+)\]')
_EXPRESSION: Final = frozenset({"references", "constant_value"})
_KINDS: Final[Mapping[str, Kind]] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    # "forget" drops a resource from the state and leaves it running: nothing obeys us any more.
    "forget": "delete",
}


class _Mark:
    """One of the two ways in which there is no value."""


UNSET: Final = _Mark()
UNKNOWN: Final = _Mark()
_NOT_TOLD: Final = _Mark()


@dataclass(frozen=True, slots=True)
class Planned:
    """One managed resource of a plan, also one that the plan leaves alone (`kind` is empty).

    `after` is empty for what is deleted, `before` for what is new. `given` holds the expressions of
    the configuration, by argument.
    """

    address: str
    type: str
    name: str
    provider: str
    kind: Kind
    before: Tree
    after: Tree
    unknown: Tree
    given: Tree

    @property
    def stands(self) -> bool:
        """Whether it is there once the plan is applied."""
        return self.kind != "delete"

    def values(self, path: str) -> list[Any]:
        """What stands at a path such as `ingress.cidr_blocks` afterwards, in every block and list.

        Never empty: where nothing is said it is UNSET, where it is not known before the apply
        UNKNOWN.
        """
        found = _values(self.after, self.unknown, self.given, path.split("."))
        return list(found) or [UNSET]

    def blocks(self, path: str) -> list[Planned]:
        """The blocks of one name, each as if it were a resource of its own; UNKNOWN ones are one."""
        after, unknown = self.after.get(path), self.unknown.get(path)
        given = self.given.get(path)
        if unknown is True and given is not None:
            return [self._part({}, _Unknown(), {})]
        items = after if isinstance(after, list) else ([] if after is None else [after])
        return [
            self._part(item, _at(unknown, place, items), _given_at(given, place, items))
            for place, item in enumerate(cast("list[Tree]", items))
            if isinstance(item, Mapping)
        ]

    def references(self, path: str) -> tuple[str, ...]:
        """What the expression at the path refers to; empty where there is none, or it is not told."""
        here: Any = self.given
        for part in path.split("."):
            if isinstance(here, list):
                here = cast("list[Any]", here)[0] if here else {}
            here = cast("Tree", here).get(part, {}) if isinstance(here, Mapping) else {}
        return tuple(here.get("references", ())) if isinstance(here, Mapping) else ()

    def _part(self, after: Tree, unknown: Tree, given: Tree) -> Planned:
        return Planned(
            self.address,
            self.type,
            self.name,
            self.provider,
            self.kind,
            {},
            after,
            unknown,
            given,
        )
