"""The table of roles as it is written in table.yaml, and which of its cells stand for the others. Asks nobody."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Cell(NamedTuple):
    """One entry of the table."""

    role: str
    tool: str
    column: str


class _Strict(yaml.SafeLoader):
    """A loader for which a key stands once: of two rows of one tool the first must not be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        made = super().construct_mapping(node, deep)
        assert len(made) == len(node.value), f"a key stands twice: {node.start_mark}"
        return made


def read(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """The table by role, tool and column."""
    table: dict[str, dict[str, dict[str, str]]] = yaml.load(text, _Strict)  # noqa: S506 - it is a safe one
    return table


TABLE = read(Path(__file__).with_name("table.yaml").read_text())
CELLS = [
    Cell(role, tool, column)
    for role, tools in TABLE.items()
    for tool, columns in tools.items()
    for column in columns
]


def word(cell: Cell) -> str:
    """What the table says."""
    return TABLE[cell.role][cell.tool][cell.column]


def stand_ins() -> list[Cell]:
    """A cell for each kind of answer: of each role and of each tool; but one that waits for a run."""
    chosen: list[Cell] = []
    shown: set[tuple[str, str]] = set()
    for cell in CELLS:
        kind = word(cell)
        shows = {("", kind)} if kind == "running" else {(cell.role, kind), (cell.tool, kind)}
        if not shows <= shown:
            chosen.append(cell)
            shown |= shows
    return chosen
