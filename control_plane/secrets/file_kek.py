"""The workspace's own sealing key as a key-encryption key: the default. Not the file it lies in."""

from __future__ import annotations

from control_plane.secrets.box import BoxError, open_box, seal
from control_plane.secrets.key_encryption import refused
from control_plane.secrets.signer import key_id


class FileKek:
    """Wraps in a box to `public_key`, opens with `private_key` (both 32 raw bytes)."""

    def __init__(self, public_key: bytes, private_key: bytes) -> None:
        self._public_key = public_key
        self._private_key = private_key
        self.reference = f"file:{key_id(public_key)}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The key in a box."""
        return seal(self._public_key, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key. Raises Refused (`kek_refused`)."""
        try:
            return open_box(self._private_key, wrapped, context)
        except BoxError:
            raise refused() from None
