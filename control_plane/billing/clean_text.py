"""Text that others wrote, made safe to show on one line. Not escaped for any format: the page and the PDF do that.

Control characters, and marks that nobody sees or that turn the direction of reading round, could make
a document read otherwise than it is.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_BREAKS: Final = {"Cc", "Zl", "Zp"}
_NOTHING: Final = "-"
# Joiners stay: names in some scripts, and emoji, are written with them.
_UNSEEN: Final = frozenset(
    {
        0x00AD,
        0x061C,
        0x200B,
        0x200E,
        0x200F,
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        0xFEFF,
    }
)


def clean(text: str) -> str:
    """One line of composed text with single spaces; `-` where nothing is left of it."""
    kept = (
        " " if unicodedata.category(one) in _BREAKS else one
        for one in unicodedata.normalize("NFC", text)
        if ord(one) not in _UNSEEN and unicodedata.category(one) != "Cs"
    )
    return " ".join("".join(kept).split()) or _NOTHING
