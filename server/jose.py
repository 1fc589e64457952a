"""The two readable parts of a compact JWT, before anything is verified. Never a reason to trust them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any, Final, cast

_PARTS: Final = 3


def header_of(token: str) -> dict[str, Any]:
    """What the header says. Raises ValueError, RecursionError."""
    return _part(token, 0)


def payload_of(token: str) -> dict[str, Any]:
    """What the payload says. Raises ValueError, RecursionError."""
    return _part(token, 1)


def _part(token: str, index: int) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise ValueError("a compact JWT has three parts")
    text = parts[index]
    found: object = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(found, dict):
        raise ValueError("a part of a JWT is an object")  # noqa: TRY004 - one error for all forms
    return cast("dict[str, Any]", found)
