"""A tenant's data keys: what is kept of one, and what it opens. Not where they are kept, nor what wraps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from control_plane.domain.canonical import canonical
from control_plane.secrets.key_encryption import Wrapped


@dataclass(frozen=True, slots=True)
class DataKey:
    """One version of a tenant's data key as it is kept. Without `wrapped` it is a tombstone.

    `version` counts from 1. Instants are RFC 3339 in UTC.
    """

    id: str
    tenant: str
    version: int
    wrapped: Wrapped | None
    made_at: str
    shredded_at: str | None = None

    def context(self, workspace: str) -> bytes:
        """What the wrapped key is bound to."""
        return key_context(workspace, self.tenant, self.version, self.id)


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A data key in hand: 32 bytes, and which one it is."""

    id: str
    version: int
    content: bytes = field(repr=False)


class DataKeys(Protocol):
    """Tenants' data keys, opened; only the worker has them."""

    def current(self, tenant: str) -> OpenKey:
        """The newest version, made where there is none.

        Raises Refused (`key_shredded`, `kek_refused`, `kek_unknown`), Unavailable
        (`kek_unavailable`).
        """
        ...

    def of_version(self, tenant: str, version: int, key_id: str) -> OpenKey:
        """One version. Raises as `current`, and Refused (`key_missing`)."""
        ...


def key_context(workspace: str, tenant: str, version: int, key_id: str) -> bytes:
    """What a data key is bound to when it is wrapped."""
    return canonical(["data key", workspace, tenant, version, key_id])
