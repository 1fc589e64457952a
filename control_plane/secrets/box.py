"""A sealed box: bytes that only one private key's holder can read. Not proof of who sealed them.

Layout: version (1 byte) | ephemeral X25519 public key (32) | AES-256-GCM ciphertext and tag.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from control_plane.errors import PaybillError

KEY_BYTES: Final = 32
PLAINTEXT_BYTES_MAX: Final = 64 * 2**20
OVERHEAD_BYTES: Final = 1 + KEY_BYTES + 16

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_LABEL: Final = b"paybill sealed box 1"


class BoxError(PaybillError):
    """A sealed box cannot be made or opened."""

    code = "box"


def new_keypair() -> tuple[bytes, bytes]:
    """A fresh X25519 pair (private, public), each 32 raw bytes."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_of(private_key: bytes) -> bytes:
    """The public half of a private key. Raises BoxError when the key is not 32 bytes."""
    return _private(private_key).public_key().public_bytes_raw()


def seal(public_key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Seal `plaintext` to the holder of the private key; opening demands the same `context`.

    Raises BoxError when the key is not a usable X25519 point or the plaintext exceeds 64 MiB.
    """
    if len(plaintext) > PLAINTEXT_BYTES_MAX:
        raise BoxError("the plaintext is too large for one box", code="box_too_large")
    recipient = _public(public_key)
    ephemeral = X25519PrivateKey.generate()
    header = _VERSION + ephemeral.public_key().public_bytes_raw()
    cipher, nonce = _cipher(ephemeral, recipient, header, public_key)
    return header + cipher.encrypt(nonce, plaintext, header + context)


def open_box(private_key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plaintext of a sealed box. Raises BoxError when key, context or any byte does not fit."""
    if not OVERHEAD_BYTES <= len(sealed) <= PLAINTEXT_BYTES_MAX + OVERHEAD_BYTES:
        raise BoxError("the box has an impossible length", code="box_malformed")
    if sealed[:1] != _VERSION:
        raise BoxError("the box has an unknown format version", code="box_version")
    header, ciphertext = sealed[: 1 + KEY_BYTES], sealed[1 + KEY_BYTES :]
    private = _private(private_key)
    own_public = private.public_key().public_bytes_raw()
    cipher, nonce = _cipher(private, _public(header[1:]), header, own_public)
    try:
        return cipher.decrypt(nonce, ciphertext, header + context)
    except InvalidTag:
        raise BoxError("the box does not open", code="box_refused") from None


def _cipher(
    own: X25519PrivateKey, other: X25519PublicKey, header: bytes, recipient: bytes
) -> tuple[AESGCM, bytes]:
    try:
        shared = own.exchange(other)
    except ValueError:  # a low-order point would make the shared secret known to everyone
        raise BoxError("the public key is not usable", code="box_key") from None
    # Each box has its own ephemeral key, so the derived nonce is never used twice with one key.
    derived = HKDF(
        algorithm=SHA256(),
        length=KEY_BYTES + _NONCE_BYTES,
        salt=None,
        info=_LABEL + header + recipient,
    ).derive(shared)
    return AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]


def _public(raw: bytes) -> X25519PublicKey:
    if len(raw) != KEY_BYTES:
        raise BoxError("a public key has 32 bytes", code="box_key")
    return X25519PublicKey.from_public_bytes(raw)


def _private(raw: bytes) -> X25519PrivateKey:
    if len(raw) != KEY_BYTES:
        raise BoxError("a private key has 32 bytes", code="box_key")
    return X25519PrivateKey.from_private_bytes(raw)
