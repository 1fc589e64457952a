"""What is wrong with a migration file, by file, line and rule. Not the looking."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake. `line` counts from 1, and is 0 where all of the file is meant."""

    file: str
    line: int
    rule: str
    message: str

    def told(self) -> str:
        """`file:line: rule: message`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.rule}: {self.message}"
