"""The known name that a misspelt one probably meant, as the end of a sentence. Not a correction."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_ALIKE_MIN: Final = 0.6
_CHARS_MAX: Final = 100


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`; did you mean x?` where a known name is alike, else nothing. Only known names are told."""
    if not isinstance(name, str) or len(name) > _CHARS_MAX:
        return ""
    found = get_close_matches(name, sorted(set(known) - {name}), n=1, cutoff=_ALIKE_MIN)
    return f"; did you mean {found[0]}?" if found else ""
