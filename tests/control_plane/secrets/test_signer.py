"""Ed25519 signing against the vectors of RFC 8032. Not key files: see test_key_file."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.secrets.signer import (
    SignerError,
    key_id,
    new_seed,
    public_bytes,
    sign,
    verify,
)

SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_the_second_vector_of_rfc_8032_comes_out() -> None:
    assert public_bytes(SEED) == PUBLIC
    assert sign(SEED, b"\x72") == SIGNATURE
    assert verify(PUBLIC, b"\x72", SIGNATURE)


@given(bit=st.integers(0, 511))
def test_a_signature_with_one_bit_changed_does_not_verify(bit: int) -> None:
    altered = bytearray(SIGNATURE)
    altered[bit // 8] ^= 1 << bit % 8
    assert not verify(PUBLIC, b"\x72", bytes(altered))


def test_another_message_or_key_does_not_verify() -> None:
    assert not verify(PUBLIC, b"\x73", SIGNATURE)
    assert not verify(public_bytes(new_seed()), b"\x72", SIGNATURE)


@pytest.mark.parametrize(("public", "signature"), [(b"", SIGNATURE), (PUBLIC, b""), (b"", b"")])
def test_malformed_keys_and_signatures_are_false_and_do_not_raise(
    public: bytes, signature: bytes
) -> None:
    assert not verify(public, b"\x72", signature)


def test_a_seed_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(SignerError):
        sign(b"short", b"message")


def test_seeds_are_fresh_and_a_key_id_is_a_prefix_of_the_public_keys_hash() -> None:
    assert new_seed() != new_seed()
    assert key_id(PUBLIC) == hashlib.sha256(PUBLIC).hexdigest()[:16]
