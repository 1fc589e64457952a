"""What wraps tenants' data keys: the port, and the ring of one that wraps and those that still open. Not an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from control_plane.errors import Refused

# What a data key has, and the most that one becomes when it is wrapped.
DATA_KEY_BYTES: Final = 32
WRAPPED_BYTES_MAX: Final = 16_384
REFERENCE_CHARS_MAX: Final = 200


class KeyEncryption(Protocol):
    """A key-encryption key: who has it turns a wrapped data key into the key."""

    @property
    def reference(self) -> str:
        """Which key it is, at most 200 characters; no secret, and never the same for another."""
        ...

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The key (32 bytes) wrapped, at most 16 KiB; opening demands the same context.

        Raises Unavailable (`kek_unavailable`).
        """
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key. Raises Refused (`kek_refused`), Unavailable (`kek_unavailable`)."""
        ...


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key as it is kept, and the reference of what it is wrapped under."""

    content: bytes = field(repr=False)
    kek: str


class KeyRing:
    """One key that wraps from now on, and any number that open what they have wrapped."""

    def __init__(self, current: KeyEncryption, others: Sequence[KeyEncryption] = ()) -> None:
        self._current = current
        self._by_reference = {one.reference: one for one in (*others, current)}

    @property
    def reference(self) -> str:
        """Of the key that wraps."""
        return self._current.reference

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Wrap under the present key."""
        return Wrapped(self._current.wrap(key, context), self._current.reference)

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Open under the key that it names; Refused (`kek_unknown`) where the ring has none such."""
        kek = self._by_reference.get(wrapped.kek)
        if kek is None:
            raise Refused(
                "The data key is wrapped under a key that is not configured.", code="kek_unknown"
            )
        key = kek.unwrap(wrapped.content, context)
        if len(key) != DATA_KEY_BYTES:
            raise refused()
        return key


def refused() -> Refused:
    """What was wrapped under another key, for another purpose, or was altered."""
    return Refused("The wrapped data key does not open.", code="kek_refused")
