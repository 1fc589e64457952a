"""The question to the gate: a principal, resources and their facts. Not the answer or the wire."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias, cast

from policies.errors import BadFacts

Attribute: TypeAlias = (
    "bool | int | float | str | Sequence[Attribute] | Mapping[str, Attribute] | None"
)

NO_ROLE = "nobody"
"""Sent when no role is left: no ALLOW rule may name it, so the answer is a denial, not an error."""

ACTIONS_MAX = 50
RESOURCES_MAX = 500

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SAFE_INTEGER_MAX = 2**53 - 1  # attributes travel as doubles
_DEPTH_MAX = 16


def is_name(text: str) -> bool:
    """Tell whether `text` may name a kind, a role or an action."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: id, effective roles and attributes. `roles` may be empty. Raises `BadFacts`."""

    id: str
    roles: tuple[str, ...]
    attr: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])

    def __post_init__(self) -> None:
        """Check and freeze."""
        if not self.id:
            raise BadFacts("principal.id", "must not be empty")
        for role in self.roles:
            if not is_name(role) or role == NO_ROLE:
                raise BadFacts("principal.roles", "must match [a-z][a-z0-9_]* and not be reserved")
        object.__setattr__(self, "roles", tuple(sorted(set(self.roles))))
        object.__setattr__(self, "attr", _frozen(self.attr, "principal.attr"))


@dataclass(frozen=True, slots=True)
class Resource:
    """What is touched: kind, id, facts, and the actions to decide. Raises `BadFacts`."""

    kind: str
    id: str
    attr: Mapping[str, Attribute]
    actions: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check and freeze."""
        if not is_name(self.kind):
            raise BadFacts("resource.kind", "must match [a-z][a-z0-9_]*")
        if not self.id:
            raise BadFacts(f"{self.kind}.id", "must not be empty")
        self._check_actions()
        object.__setattr__(self, "attr", _frozen(self.attr, self.kind))

    def _check_actions(self) -> None:
        if not 1 <= len(self.actions) <= ACTIONS_MAX:
            raise BadFacts(f"{self.kind}.actions", f"must number 1 to {ACTIONS_MAX}")
        if len(set(self.actions)) != len(self.actions):
            raise BadFacts(f"{self.kind}.actions", "must be distinct")
        if not all(is_name(action) for action in self.actions):
            raise BadFacts(f"{self.kind}.actions", "must match [a-z][a-z0-9_]*")


def _frozen(attr: Mapping[str, Attribute], part: str) -> Mapping[str, Attribute]:
    for name, value in attr.items():
        _check_value(value, f"{part}.{name}", _DEPTH_MAX)
    return MappingProxyType(dict(attr))


def _check_value(value: object, part: str, depth_left: int) -> None:
    if depth_left == 0:
        raise BadFacts(part, f"must not nest deeper than {_DEPTH_MAX}")
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                raise BadFacts(part, "keys must be strings")
            _check_value(item, f"{part}.{key}", depth_left - 1)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[object]", value):
            _check_value(item, part, depth_left - 1)
    else:
        _check_scalar(value, part)


def _check_scalar(value: object, part: str) -> None:
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if abs(value) > _SAFE_INTEGER_MAX:
            raise BadFacts(part, "must be an integer that a double holds exactly")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadFacts(part, "must be finite")
    else:
        raise BadFacts(part, "must be null, boolean, number, string, list or object")
