"""What is wrong with a declaration: file, line, field and rule. Not the value that stands there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from pydantic import ValidationError

from control_plane.errors import BadInput

Path: TypeAlias = tuple[str | int, ...]


class DeclarationError(ValueError):
    """A rule that is broken; `path` leads on from the part that was being checked."""

    def __init__(self, rule: str, *path: str | int) -> None:
        super().__init__(rule)
        self.rule = rule
        self.path: Path = path


def first_error(error: ValidationError) -> DeclarationError:
    """What was found first, with its whole path."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = tuple(part for part in first["loc"] if part != "[key]")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, DeclarationError):
        return DeclarationError(cause.rule, *path, *cause.path)
    if isinstance(cause, ValueError):
        return DeclarationError(str(cause), *path)
    return DeclarationError(first["msg"], *path)


def misdeclared(file_name: str, lines: Mapping[Path, int], error: DeclarationError) -> BadInput:
    """The error as `file:line: path` and the rule. What is absent has the line of what lacks it."""
    standing = error.path
    while standing and standing not in lines:
        standing = standing[:-1]
    where = ".".join(str(part) for part in error.path)
    place = f"{file_name}:{lines.get(standing, 1)}"
    return BadInput(f"{place}: {where}" if where else place, error.rule)
