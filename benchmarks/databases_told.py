"""What rounds have told of the same thing: medians, spread, ratios, tables in Markdown. Measures nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guarded_call import say

Row = dict[str, Any]
Keys = tuple[str, ...]
_WHOLE_FROM = 100


def took_ms(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1_000


@dataclass(frozen=True)
class Spread:
    """Figures of the same thing: their median, the least, the most, and how many there were."""

    median: float
    least: float
    most: float
    of: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        """Of one figure or more."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        told = _number(self.median)
        return (
            told if self.of == 1 else f"{told} ({_number(self.least)}–{_number(self.most)})"  # noqa: RUF001
        )


class Sheet:
    """By row and column, a figure for each round. What a ratio compares has been added as often."""

    def __init__(self, *labels: str) -> None:
        self._labels = labels
        self._found: dict[Keys, dict[str, list[float]]] = {}

    def add(self, row: Keys, column: str, value: float) -> None:
        """One more figure."""
        self._found.setdefault(row, {}).setdefault(column, []).append(value)

    def rows(self, ratios: Mapping[str, tuple[str, str]] | None = None) -> list[Row]:
        """A row for each key, with the spread of each column, and of each ratio within a round."""
        told: list[Row] = []
        for keys, columns in self._found.items():
            row: Row = dict(zip(self._labels, keys, strict=True))
            row |= {name: Spread.over(values) for name, values in columns.items()}
            for name, (over, under) in (ratios or {}).items():
                pairs = zip(columns.get(over, ()), columns.get(under, ()), strict=True)
                if divided := [one / other for one, other in pairs]:
                    row[name] = Spread.over(divided)
            told.append(row)
        return told


def table(title: str, rows: Sequence[Row]) -> None:
    """A table in Markdown; what a row does not have is left empty."""
    heads = list(dict.fromkeys(name for row in rows for name in row))
    say(f"\n### {title}\n\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        say("| " + " | ".join(_shown(row.get(name, "")) for name in heads) + " |")


def plain(value: object) -> object:
    """A spread as JSON has it: the `default` of a dump."""
    if isinstance(value, Spread):
        return asdict(value)
    raise TypeError(type(value).__name__)


def _shown(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE_FROM or value == int(value) else f"{value:.2f}"
