"""Names of collections and fields, made of names of tables and columns. Not what they stand for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from control_plane.data.collection import RESERVED_PREFIXES
from control_plane.data.field import IMPLICIT_FIELDS

FIELD_CHARS_MAX: Final = 48
COLLECTION_CHARS_MAX: Final = 40  # what the tools' arguments take
_DESCRIPTION_CHARS_MAX: Final = 500
_ACRONYM: Final = re.compile(r"([A-Z]+)([A-Z][a-z])")
_HUMP: Final = re.compile(r"([a-z0-9])([A-Z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


def snake_case(name: str) -> str:
    """The name in lower case with underscores between its words; may be empty."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    parted = _HUMP.sub(r"\1_\2", _ACRONYM.sub(r"\1_\2", folded))
    return _OTHER.sub("_", parted.lower()).strip("_")


def words_of(name: str) -> tuple[str, ...]:
    """The words that a name is made of, in lower case."""
    return tuple(snake_case(name).split("_"))


def field_names(columns: Iterable[str]) -> Mapping[str, str]:
    """A field's name for each column, distinct and free to declare."""
    return _distinct({one: _field(one) for one in columns}, FIELD_CHARS_MAX)


def collection_names(tables: Iterable[str]) -> Mapping[str, str]:
    """A collection's name for each table, distinct and free to declare."""
    return _distinct({one: _collection(one) for one in tables}, COLLECTION_CHARS_MAX)


def told(text: str, chars_max: int = _DESCRIPTION_CHARS_MAX) -> str:
    """Text of one line without control and formatting characters, cut at `chars_max`."""
    kept = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    line = " ".join(kept.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def _field(column: str) -> str:
    name = _begun(snake_case(column), "field")
    return f"{name}_source" if name in IMPLICIT_FIELDS else name[:FIELD_CHARS_MAX].rstrip("_")


def _collection(table: str) -> str:
    name = _begun(snake_case(table), "table")
    if name.startswith(RESERVED_PREFIXES):
        name = f"x_{name}"
    return name[:COLLECTION_CHARS_MAX].rstrip("_")


def _begun(name: str, otherwise: str) -> str:
    # A name begins with a letter.
    return f"x_{name}" if name[:1].isdigit() else name or otherwise


def _distinct(wanted: Mapping[str, str], chars_max: int) -> Mapping[str, str]:
    # What already has its name keeps it, whatever comes before it.
    taken = {name for origin, name in wanted.items() if origin == name}
    given: dict[str, str] = {}
    for origin, name in wanted.items():
        free, number = name, 1
        while origin != name and free in taken:
            number += 1
            suffix = f"_{number}"
            free = name[: chars_max - len(suffix)] + suffix
        taken.add(free)
        given[origin] = free
    return given
