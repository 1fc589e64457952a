"""Identities of age for tests, and what others may encrypt to one. Not a test."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

# The library ships no types.
_AGE: Final[Any] = import_module("pyrage")


def new_identity() -> str:
    """A fresh identity's text: AGE-SECRET-KEY-1…."""
    return str(_AGE.x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """Its public half: age1…."""
    return str(_AGE.x25519.Identity.from_str(identity).to_public())


def encrypted_to(identity: str, content: bytes) -> bytes:
    """A file of age that the identity opens; anybody could have made it."""
    made: bytes = _AGE.encrypt(content, [_AGE.x25519.Identity.from_str(identity).to_public()])
    return made
