"""A page of the documentation, as its tests read it: headings, tables, code. Not a Markdown parser."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_PIPE = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|[ :|-]+\|")
_CODE = re.compile(r"`([^`]+)`")
_JSON = re.compile(r"```json\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """One table: under which heading it stands, its columns, its cells as they are written."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def cells(self, *names: str) -> list[tuple[str, ...]]:
        """The cells of some columns, a tuple for each row."""
        return list(zip(*(self.column(name) for name in names), strict=True))


@dataclass(frozen=True)
class Section:
    """What stands under one heading, up to the next heading of any level."""

    heading: str
    text: str

    @property
    def tables(self) -> list[Table]:
        """The tables in it."""
        found: list[list[str]] = [[]]
        for line in self.text.splitlines():
            if line.startswith("|"):
                found[-1].append(line)
            elif found[-1]:
                found.append([])
        return [_table(self.heading, lines) for lines in found if lines]

    @property
    def examples(self) -> list[dict[str, Any]]:
        """Every block of JSON in it, parsed."""
        return [json.loads(block) for block in _JSON.findall(self.text)]


def sections(text: str) -> dict[str, Section]:
    """Every section by its heading; a heading stands once in a page. Headings in code do not count."""
    found: dict[str, list[str]] = {"": []}
    heading, fenced = "", False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            heading = line.lstrip("#").strip().replace("`", "")
            assert heading not in found, f"the heading {heading!r} stands twice"
            found[heading] = []
        else:
            found[heading].append(line)
    return {name: Section(name, "\n".join(lines)) for name, lines in found.items()}


def code(cell: str) -> str:
    """The first piece of code in a cell."""
    found = _CODE.search(cell)
    assert found, f"a cell without code: {cell!r}"
    return found[1]


def codes(cell: str) -> tuple[str, ...]:
    """Every piece of code in a cell."""
    return tuple(_CODE.findall(cell))


def _table(heading: str, lines: list[str]) -> Table:
    head, rule, *body = lines
    assert _RULE.fullmatch(rule), f"a table without a head under {heading!r}"
    columns = _cells(head)
    rows = tuple(_cells(line) for line in body)
    assert all(len(row) == len(columns) for row in rows), f"a ragged table under {heading!r}"
    return Table(heading, columns, rows)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace("\\|", "|") for cell in _PIPE.split(line.strip("|")))
