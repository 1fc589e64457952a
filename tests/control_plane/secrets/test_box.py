"""What a sealed box promises. Not the keys of tenants: see test_tenant_keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import PaybillError
from control_plane.secrets.box import (
    OVERHEAD_BYTES,
    PLAINTEXT_BYTES_MAX,
    BoxError,
    new_keypair,
    open_box,
    public_of,
    seal,
)

PRIVATE, PUBLIC = new_keypair()


@given(plaintext=st.binary(max_size=200), context=st.binary(max_size=50))
def test_what_is_sealed_to_a_public_key_opens_with_its_private_key(
    plaintext: bytes, context: bytes
) -> None:
    assert open_box(PRIVATE, seal(PUBLIC, plaintext, context), context) == plaintext


def test_two_boxes_of_one_text_have_nothing_in_common_but_their_version() -> None:
    first, second = seal(PUBLIC, b"text", b""), seal(PUBLIC, b"text", b"")
    assert first[0] == second[0] == 1
    assert first[1:33] != second[1:33]
    assert first[33:] != second[33:]


@given(data=st.data())
def test_a_box_with_any_one_bit_changed_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(seal(PUBLIC, b"payload", b"context"))
    # The top bit of an X25519 key is masked off by the curve, but the header is authenticated.
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BoxError):
        open_box(PRIVATE, bytes(sealed), b"context")


def test_a_box_does_not_open_under_another_context() -> None:
    with pytest.raises(BoxError) as refused:
        open_box(PRIVATE, seal(PUBLIC, b"payload", b"one"), b"two")
    assert refused.value.code == "box_refused"


def test_a_box_does_not_open_with_another_key() -> None:
    other, _ = new_keypair()
    with pytest.raises(BoxError) as refused:
        open_box(other, seal(PUBLIC, b"payload", b""), b"")
    assert refused.value.code == "box_refused"


@pytest.mark.parametrize("length", [0, 1, OVERHEAD_BYTES - 1])
def test_a_box_too_short_to_be_one_is_malformed(length: int) -> None:
    with pytest.raises(BoxError) as refused:
        open_box(PRIVATE, b"\x01" * length, b"")
    assert refused.value.code == "box_malformed"


def test_a_box_of_another_format_version_is_refused_by_name() -> None:
    sealed = b"\x02" + seal(PUBLIC, b"payload", b"")[1:]
    with pytest.raises(BoxError) as refused:
        open_box(PRIVATE, sealed, b"")
    assert refused.value.code == "box_version"


@pytest.mark.parametrize("key", [b"", b"\x00" * 31, b"\x00" * 33, b"\x00" * 32])
def test_a_key_of_the_wrong_length_or_of_low_order_is_refused(key: bytes) -> None:
    with pytest.raises(BoxError) as refused:
        seal(key, b"payload", b"")
    assert refused.value.code == "box_key"


def test_a_private_key_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(BoxError):
        public_of(b"short")


def test_a_plaintext_beyond_the_bound_is_refused() -> None:
    with pytest.raises(BoxError) as refused:
        seal(PUBLIC, bytes(PLAINTEXT_BYTES_MAX + 1), b"")
    assert refused.value.code == "box_too_large"


def test_the_public_half_follows_from_the_private_one() -> None:
    assert public_of(PRIVATE) == PUBLIC


def test_an_error_of_a_box_belongs_to_the_tree_and_shows_no_content() -> None:
    with pytest.raises(PaybillError) as refused:
        open_box(PRIVATE, seal(PUBLIC, b"very-secret", b"one"), b"two")
    assert "very-secret" not in str(refused.value)
    assert refused.value.__cause__ is None
