"""What was expected, what was seen, and whether it held. Does not say how either is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from control_plane.domain.canonical import Json

Seen: TypeAlias = Mapping[str, Json]
Expected: TypeAlias = Mapping[str, object]


class Absent:
    """Expects that a field is not there at all: masked is not the same as empty."""

    def __repr__(self) -> str:
        """How it reads in a list of what did not hold."""
        return "(absent)"


ABSENT: Final = Absent()


@dataclass(frozen=True)
class Holding:
    """Expects a text that holds another."""

    part: str


@dataclass
class Ledger:
    """Every expectation so far; ``missed`` is one line for each that did not hold."""

    held: int = 0
    missed: list[str] = field(default_factory=list[str])

    def expect(self, what: str, expected: Expected, seen: Seen) -> bool:
        """Compare, keep the result and tell it."""
        if matches(expected, seen):
            self.held += 1
            return True
        self.missed.append(f"{what}: expected {expected!r}, saw {seen!r}")
        return False


def matches(expected: object, seen: object) -> bool:
    """Whether what was seen is as expected. A mapping says only what must be among its fields."""
    if isinstance(expected, Holding):
        return isinstance(seen, str) and expected.part in seen
    if isinstance(expected, Mapping):
        fields = cast("Expected", expected)
        return isinstance(seen, Mapping) and _fields_match(fields, cast("Expected", seen))
    if isinstance(expected, list):
        items = cast("list[object]", expected)
        if not isinstance(seen, list):
            return False
        others = cast("list[object]", seen)
        return len(items) == len(others) and all(map(matches, items, others))
    return type(expected) is type(seen) and expected == seen


def _fields_match(expected: Expected, seen: Expected) -> bool:
    return all(
        name not in seen if value is ABSENT else name in seen and matches(value, seen[name])
        for name, value in expected.items()
    )
