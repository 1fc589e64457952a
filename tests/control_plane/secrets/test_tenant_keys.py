"""What a tenant's key promises. Not where it is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control_plane.secrets.box import BoxError, new_keypair, open_box, seal
from control_plane.secrets.tenant_keys import new_tenant_key, shredded, unwrap

PRIVATE, PUBLIC = new_keypair()


def test_a_payload_sealed_to_a_tenant_opens_with_the_unwrapped_key() -> None:
    key = new_tenant_key("acme", PUBLIC)
    sealed = seal(key.public, b"payload", b"leaf")
    assert open_box(unwrap(key, PRIVATE), sealed, b"leaf") == b"payload"


def test_a_shredded_key_never_opens_again_and_keeps_its_public_half() -> None:
    key = new_tenant_key("acme", PUBLIC)
    gone = shredded(key)
    assert gone.wrapped_private is None
    assert (gone.key_id, gone.public) == (key.key_id, key.public)
    with pytest.raises(BoxError) as refused:
        unwrap(gone, PRIVATE)
    assert refused.value.code == "key_shredded"


def test_a_wrapped_key_moved_to_another_tenant_does_not_open() -> None:
    key = new_tenant_key("acme", PUBLIC)
    with pytest.raises(BoxError):
        unwrap(replace(key, tenant="other"), PRIVATE)


def test_another_workspace_cannot_unwrap() -> None:
    other, _ = new_keypair()
    with pytest.raises(BoxError):
        unwrap(new_tenant_key("acme", PUBLIC), other)


def test_a_replaced_public_half_is_noticed() -> None:
    key = new_tenant_key("acme", PUBLIC)
    _, other_public = new_keypair()
    with pytest.raises(BoxError) as refused:
        unwrap(replace(key, public=other_public), PRIVATE)
    assert refused.value.code == "key_mismatch"


def test_two_keys_of_one_tenant_differ() -> None:
    first, second = new_tenant_key("acme", PUBLIC), new_tenant_key("acme", PUBLIC)
    assert first.key_id != second.key_id
