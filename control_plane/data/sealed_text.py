"""Sealed bytes as url-safe text, of one spelling only. Not the sealing."""

from __future__ import annotations

import base64
import binascii


def text_of(raw: bytes) -> str:
    """The text of the bytes, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_of(text: str, chars_max: int) -> bytes:
    """The bytes of a text. Raises ValueError for one that `text_of` would not have made."""
    if len(text) > chars_max or not text.isascii():
        raise ValueError("not sealed here")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not sealed here") from None
    if text_of(raw) != text:
        raise ValueError("not sealed here")
    return raw
