"""An age identity as a key-encryption key. Not the file that it is read from, and no plugin of age.

age knows no context, so what is encrypted begins with the context's digest.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from control_plane.errors import BadInput, Unavailable
from control_plane.secrets.key_encryption import refused

_DIGEST_BYTES: Final = 32
_IDENTITY_BEGINS: Final = "AGE-SECRET-KEY-1"
_LINES_MAX: Final = 64


class AgeKek:
    """The first X25519 identity of an identity file's text; further ones are not looked at.

    Raises BadInput (`identity`), which shows nothing of it; Unavailable (`extra_missing`) where
    the extra `age` is not installed.
    """

    def __init__(self, text: str) -> None:
        self._age = _library()
        try:
            self._identity = self._age.x25519.Identity.from_str(_first(text))
        except self._age.IdentityError:
            raise BadInput("identity", "must be an age identity, AGE-SECRET-KEY-1…") from None
        self._recipient = self._identity.to_public()
        self.reference = f"age:{self._recipient}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The key as an age file."""
        wrapped: bytes = self._age.encrypt(_digest(context) + key, [self._recipient])
        return wrapped

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key. Raises Refused (`kek_refused`)."""
        try:
            content: bytes = self._age.decrypt(wrapped, [self._identity])
        except self._age.DecryptError:
            raise refused() from None
        if not hmac.compare_digest(content[:_DIGEST_BYTES], _digest(context)):
            raise refused()
        return content[_DIGEST_BYTES:]


def _first(text: str) -> str:
    for line in text.splitlines()[:_LINES_MAX]:
        if line.strip().startswith(_IDENTITY_BEGINS):
            return line.strip()
    raise BadInput("identity", "must be an age identity, AGE-SECRET-KEY-1…")


def _digest(context: bytes) -> bytes:
    return hashlib.sha256(b"paybill data key 1\0" + context).digest()


def _library() -> Any:
    try:
        import pyrage
    except ImportError:
        raise Unavailable(
            "keys of age need the extra `age`: pip install 'paybill[age]'", code="extra_missing"
        ) from None
    return pyrage
