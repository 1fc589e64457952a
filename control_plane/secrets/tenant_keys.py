"""A tenant's keypair, its private half sealed to the workspace. Not where it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from control_plane.domain.canonical import canonical
from control_plane.secrets.box import BoxError, new_keypair, open_box, public_of, seal
from control_plane.secrets.signer import key_id

_PURPOSE: Final = "tenant key"


@dataclass(frozen=True, slots=True)
class TenantKey:
    """One tenant's key: seal to `public`; without `wrapped_private` nothing sealed opens again."""

    tenant: str
    key_id: str
    public: bytes
    wrapped_private: bytes | None = field(repr=False)


def new_tenant_key(tenant: str, workspace_public: bytes) -> TenantKey:
    """A fresh key for `tenant`. Needs the workspace's public key only (32 raw bytes)."""
    private, public = new_keypair()
    named = key_id(public)
    wrapped = seal(workspace_public, private, _context(tenant, named))
    return TenantKey(tenant, named, public, wrapped)


def unwrap(tenant_key: TenantKey, workspace_private: bytes) -> bytes:
    """The tenant's private key (32 raw bytes).

    Raises BoxError: `key_shredded` when it was forgotten, `key_mismatch` when the halves do not
    belong together, `box_refused` when it was sealed for another tenant or workspace.
    """
    if tenant_key.wrapped_private is None:
        raise BoxError("the tenant's key was shredded", code="key_shredded")
    context = _context(tenant_key.tenant, tenant_key.key_id)
    private = open_box(workspace_private, tenant_key.wrapped_private, context)
    if public_of(private) != tenant_key.public:
        raise BoxError("the tenant's key halves do not belong together", code="key_mismatch")
    return private


def shredded(tenant_key: TenantKey) -> TenantKey:
    """The same key with its private half forgotten: the caller must store this over the old one."""
    return replace(tenant_key, wrapped_private=None)


def _context(tenant: str, named: str) -> bytes:
    return canonical([_PURPOSE, tenant, named])
