"""One resource of a plan as its JSON tells it: what is done to it, and what it would then be. Judges nothing.

A value is *known*; or *unset*, because the configuration says nothing of it and the provider's default
holds; or *unknown*, because the configuration gives it by something that is not known before the apply.
Terraform's `after_unknown` marks the last two alike, so what the configuration names tells them apart.
What stands in no static block of it (a `dynamic` one) is taken as given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
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


class Absence:
    """Why there is no value to look at."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __repr__(self) -> str:
        return self._why


UNSET: Final = Absence("unset")
UNKNOWN: Final = Absence("unknown")
_SOMEHOW: Final[Tree] = {"references": ()}
"""Stands for an expression that the configuration does not show."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value or block of a resource afterwards, beside Terraform's marks and the expression given."""

    value: Any
    unknown: Any
    given: Any

    @property
    def leaf(self) -> Any:
        """The value, UNSET or UNKNOWN."""
        if self.unknown is True:
            return UNSET if self.given is None else UNKNOWN
        return UNSET if self.value is None else self.value

    def values(self, path: str) -> list[Any]:
        """What stands at a path such as `ingress.cidr_blocks`, in each block and each list.

        Never empty: where nothing is said it is UNSET.
        """
        return [one.leaf for one in self.parts(path)] or [UNSET]

    def parts(self, path: str) -> list[Part]:
        """The same as parts, one for each block; none where there is no block."""
        found = [self]
        for name in path.split("."):
            found = [item for one in found for item in one.at(name).items()]
        return found

    def references(self, path: str) -> tuple[str, ...]:
        """What the expressions at a path refer to; empty where none is given or shown."""
        given = [one.given for one in self.parts(path) if isinstance(one.given, Mapping)]
        return tuple(str(name) for one in given for name in cast("Tree", one).get("references", ()))

    def at(self, name: str) -> Part:
        """What stands under a name in here."""
        value = cast("Tree", self.value).get(name) if isinstance(self.value, Mapping) else None
        marks = cast("Tree", self.unknown) if isinstance(self.unknown, Mapping) else {}
        unknown = True if self.unknown is True else marks.get(name)
        return Part(value, unknown, _given_at(self.given, name))

    def items(self) -> Iterator[Part]:
        """Each of several blocks or values, or the only one; none where there is none."""
        if self.unknown is True or isinstance(self.value, Mapping):
            yield self
            return
        if not isinstance(self.value, list):
            if self.value is not None:
                yield self
            return
        values = self.value
        marks = self.unknown if isinstance(self.unknown, list) else []
        given = _given_in(self.given)
        for value, mark in zip_longest(values, marks):
            yield Part(value, mark, given)


@dataclass(frozen=True, slots=True)
class Planned:
    """One managed resource of a plan, also one that the plan leaves alone (`kind` is empty).

    `provider_key` names which configuration of its provider it has; empty where that is not told.
    """

    address: str
    type: str
    name: str
    provider: str
    provider_key: str
    kind: Kind
    before: Tree
    after: Part

    @property
    def stands(self) -> bool:
        """Whether it is there, and ours, once the plan is applied."""
        return self.kind != "delete"


def planned(plan_json: Tree) -> tuple[Planned, ...]:
    """Every managed resource of a plan, in Terraform's order."""
    told = dict(configured(plan_json))
    return tuple(
        _planned(one, told.get(_INDEX.sub("", one["address"])))
        for one in plan_json.get("resource_changes", ())
        if one["mode"] == "managed"
    )


def configured(plan_json: Tree) -> Iterator[tuple[str, Tree]]:
    """Every resource and data source of the configuration with its address, without instance keys.

    Raises ValueError for modules that are nested deeper than MODULE_DEPTH_MAX.
    """
    level = [("", plan_json.get("configuration", {}).get("root_module", {}))]
    for _depth in range(MODULE_DEPTH_MAX):
        for prefix, module in level:
            for one in module.get("resources", ()):
                yield prefix + str(one["address"]), one
        level = [
            (f"{prefix}module.{name}.", call.get("module", {}))
            for prefix, module in level
            for name, call in module.get("module_calls", {}).items()
        ]
        if not level:
            return
    raise ValueError(f"modules are nested deeper than {MODULE_DEPTH_MAX}")


def _planned(change: Tree, configuration: Tree | None) -> Planned:
    told = change["change"]
    # What the configuration does not show was given somehow.
    given = _SOMEHOW if configuration is None else configuration.get("expressions", {})
    return Planned(
        address=str(change["address"]),
        type=str(change["type"]),
        name=str(change["name"]),
        provider=str(change["provider_name"]),
        provider_key=str((configuration or {}).get("provider_config_key", "")),
        kind=kind_of(tuple(told["actions"])),
        before=told.get("before") or {},
        after=Part(told.get("after") or {}, told.get("after_unknown") or {}, given),
    )


def kind_of(actions: tuple[str, ...]) -> Kind:
    """What Terraform's list of actions comes to; empty for what is left alone or only read."""
    if "delete" in actions and "create" in actions:
        return "replace"
    return _KINDS.get(actions[0], "")


def _given_at(given: Any, name: str) -> Any:
    if not isinstance(given, Mapping):
        return None
    tree = cast("Tree", given)
    # An expression gives a whole object at once: which of its members is not shown.
    return _SOMEHOW if tree.keys() <= _EXPRESSION and tree else tree.get(name)


def _given_in(given: Any) -> Any:
    """What is given in each of several blocks: all that any of them gives, for sets have no order."""
    if not isinstance(given, list):
        return _SOMEHOW if given is None else given
    merged: dict[str, Any] = {}
    for one in cast("list[Tree]", given):
        merged |= one
    return merged
