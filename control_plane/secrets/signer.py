"""Ed25519 signing with 32-byte seeds. Not where a seed is kept: see key_file.

Used alike for the audit key, the issuer key, approver keys and the root key of enrolment.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from control_plane.errors import PaybillError

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_KEY_ID_DIGITS: Final = 16


class SignerError(PaybillError):
    """A signing key is not usable."""

    code = "signer"


def new_seed() -> bytes:
    """A fresh Ed25519 seed: 32 raw bytes from the operating system's generator."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_bytes(seed: bytes) -> bytes:
    """The 32-byte public key of a seed. Raises SignerError when the seed is not 32 bytes."""
    return _private(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte signature of `message`. Raises SignerError when the seed is not 32 bytes."""
    return _private(seed).sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` was made with the seed of `public`; malformed is False."""
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(public: bytes) -> str:
    """The short name of a public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:_KEY_ID_DIGITS]


def _private(seed: bytes) -> Ed25519PrivateKey:
    if len(seed) != SEED_BYTES:
        raise SignerError("a seed has 32 bytes", code="signer_seed")
    return Ed25519PrivateKey.from_private_bytes(seed)
