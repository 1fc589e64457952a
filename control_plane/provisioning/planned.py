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
_MADE_BY_PROVIDERS: Final = frozenset(
    {
        *("create_vnic_details", "ebs_block_device", "egress", "ingress", "inline_policy"),
        *("network_interface", "root_block_device", "security_rule"),
    }
)
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

        Never empty: a block that says nothing is UNSET there, and so is what has no such block.
        """
        *blocks, last = path.split(".")
        return [
            value
            for one in self.blocks(*blocks)
            for value in [item.leaf for item in one.at(last).items()] or [UNSET]
        ] or [UNSET]

    def parts(self, path: str) -> list[Part]:
        """The same as parts, one for each block or value; none where there is none."""
        *blocks, last = path.split(".")
        return [item for one in self.blocks(*blocks) for item in one.at(last).items()]

    def blocks(self, *names: str) -> list[Part]:
        """The blocks that stand under these names, one within another.

        A block that is wholly unknown is given by a `dynamic` one, unless a provider makes such a
        block by itself: those few are listed.
        """
        found: list[Part] = [self]
        for name in names:
            inner = [item for one in found for item in one.at(name).items()]
            found = [
                one
                if one.unknown is not True or name in _MADE_BY_PROVIDERS
                else one.given_somehow()
                for one in inner
            ]
        return found

    def given_somehow(self) -> Part:
        """The same, given by an expression that is not shown, unless one is."""
        return self if self.given is not None else Part(self.value, self.unknown, _SOMEHOW)

    def references(self, path: str) -> tuple[str, ...]:
        """What the expressions at a path refer to; empty where none is given or shown."""
        given = [tree for one in self.parts(path) if (tree := as_tree(one.given)) is not None]
        return tuple(str(name) for tree in given for name in tree.get("references", ()))

    def at(self, name: str) -> Part:
        """What stands under a name in here."""
        value, marks = as_tree(self.value), as_tree(self.unknown)
        unknown = True if self.unknown is True else (marks or {}).get(name)
        return Part((value or {}).get(name), unknown, _given_at(self.given, name))

    def items(self) -> Iterator[Part]:
        """Each of several blocks or values, or the only one; none where there is none."""
        values = as_list(self.value)
        if values is None or self.unknown is True:
            if self.unknown is True or self.value is not None:
                yield self
            return
        given = _given_in(self.given)
        for value, mark in zip_longest(values, as_list(self.unknown) or []):
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


def as_tree(value: object) -> Tree | None:
    """An object of JSON, or None for anything else."""
    return cast("Tree", value) if isinstance(value, Mapping) else None


def as_list(value: object) -> list[object] | None:
    """A list of JSON, or None for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else None


def _given_at(given: object, name: str) -> Any:
    tree = as_tree(given)
    if tree is None:
        return None
    # An expression gives a whole object at once: which of its members is not shown.
    return _SOMEHOW if tree and tree.keys() <= _EXPRESSION else tree.get(name)


def _given_in(given: object) -> Any:
    """What is given in each of several blocks: all that any of them gives, for sets have no order."""
    blocks = as_list(given)
    if blocks is None:
        return _SOMEHOW if given is None else given
    merged: dict[str, Any] = {}
    for one in blocks:
        merged |= as_tree(one) or {}
    return merged
