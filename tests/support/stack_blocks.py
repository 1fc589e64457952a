"""The shipped modules as blocks and arguments, read from their tokens. It knows no meaning of the language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud, Isolation
from control_plane.provisioning import scan, stacks

_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")


class Shipped(NamedTuple):
    """One shipped module's place."""

    cloud: Cloud
    isolation: Isolation

    @property
    def folder(self) -> Path:
        return stacks.MODULES / self.cloud / self.isolation


@dataclass(frozen=True)
class Block:
    """`words` is what stands before the brace, without quotes; an argument is its tokens."""

    words: tuple[str, ...]
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    blocks: tuple[Block, ...] = ()

    def inner(self, path: str) -> Iterator[Block]:
        """The blocks within at a path of names with slashes between; the empty path is this one."""
        name, _, rest = path.partition("/")
        if not name:
            yield self
        for one in self.blocks if name else ():
            dynamic = one.words[0] == "dynamic" and one.words[1] == name
            for found in one.blocks if dynamic else (one,):
                if dynamic or one.words[0] == name:
                    yield from found.inner(rest)

    def everything(self) -> Iterator[Block]:
        """This block and all that lie in it."""
        yield self
        for one in self.blocks:
            yield from one.everything()


def shipped() -> list[Shipped]:
    """Every module that stands."""
    found = [Shipped(cloud, isolation) for cloud in CLOUDS for isolation in ISOLATIONS]
    return [one for one in found if (one.folder / "main.tf").is_file()]


def blocks(folder: Path, *names: str) -> list[Block]:
    """The blocks of a module's files in order, or of those that are named."""
    files = [folder / name for name in names] if names else sorted(folder.glob("*.tf"))
    return [one for file in files for one in blocks_of(file.read_text(encoding="utf-8"))]


def blocks_of(text: str) -> tuple[Block, ...]:
    """The blocks of one file."""
    words = scan.tokens(text)
    body, end = _body(words, 0)
    if end != len(words):
        raise ValueError("there is a brace too many")
    return body.blocks


def _body(words: Sequence[str], start: int) -> tuple[Block, int]:
    """What stands up to the closing brace, which the position after it leaves behind."""
    arguments: dict[str, tuple[str, ...]] = {}
    found: list[Block] = []
    position = start
    while position < len(words) and words[position] != "}":
        if words[position] == "\n":
            position += 1
        elif words[position + 1] == "=":
            end = _end_of_value(words, position + 2)
            arguments[words[position]] = tuple(
                one for one in words[position + 2 : end] if one != "\n"
            )
            position = end
        else:
            brace = words.index("{", position)
            names = tuple(one.strip('"') for one in words[position:brace])
            inner, position = _body(words, brace + 1)
            found.append(Block(names, inner.arguments, inner.blocks))
            position += 1  # the closing brace
    return Block((), arguments, tuple(found)), position


def _end_of_value(words: Sequence[str], start: int) -> int:
    depth = 0
    for position in range(start, len(words)):
        word = words[position]
        if depth == 0 and word in {"\n", "}"}:
            return position
        depth += (word in _OPENING) - (word in _CLOSING)
    return len(words)
