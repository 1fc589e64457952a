"""Licences of a workspace: issued by its key and recorded, verified with public keys alone. Not their text or terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from sqlalchemy import Connection

from control_plane.billing import licence
from control_plane.billing.licence import Licence
from control_plane.billing.licence_terms import licence_terms
from control_plane.domain.canonical import Json, instant
from control_plane.errors import BadInput, NotFound, PaybillError, Refused
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.ports import Recorder
from control_plane.secrets import signer
from server import keys
from server.catalog import load_applied
from server.private_files import read_plain_file
from server.workspace import Workspace

_KEYS_BYTES_MAX: Final = 16_384
_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def issue(
    connection: Connection,
    workspace: Workspace,
    recorder: Recorder,
    tenant: str,
    *,
    licence_id: str,
    now: datetime,
    days: int | None = None,
) -> tuple[str, Licence]:
    """A tenant's licence as of `now` (aware): its text and what it says; recorded, and not kept.

    Raises NotFound (`tenant_absent`, `plan_not_found`), Refused (`tenant_not_active`,
    `licence_not_entitled`), BadInput (`days`), and what `keys` does.
    """
    _require_active(connection, tenant)
    plans = load_applied(connection, workspace.catalogs).plans
    terms = licence_terms(subscription_row(connection, tenant), plans, now, days)
    public = keys.load_public(workspace.keys)
    seed = keys.load_licence(workspace.keys, public)
    text = licence.issue(terms, licence_id=licence_id, issued_at=now, seed=seed)
    made = licence.verify(text, believed(public.licence_bytes), now, tenant=tenant)
    payload: dict[str, Json] = {
        "licence": made.id,
        "key_id": made.key_id,
        "plan": made.plan,
        "seats": made.seats,
        "expires_at": instant(made.expires_at),
    }
    recorder.record(connection, "licence.issued", tenant, payload)
    return text, made


def believed(*publics: bytes) -> dict[str, bytes]:
    """Public keys by their ids, as `licence.verify` takes them."""
    return {signer.key_id(public): public for public in publics}


def public_pem(public: bytes) -> str:
    """A public key as PEM (RFC 8410), which any library reads."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def read_public_keys(file: Path) -> Mapping[str, bytes]:
    """The Ed25519 keys of a file of PEM texts, by id: more than one while a key is exchanged.

    Raises BadInput.
    """
    try:
        content, _ = read_plain_file(file, bytes_max=_KEYS_BYTES_MAX)
        found = [load_pem_public_key(one) for one in _PEM.findall(content)]
    except (OSError, PaybillError, ValueError, UnsupportedAlgorithm):
        found = []
    publics = [one.public_bytes_raw() for one in found if isinstance(one, Ed25519PublicKey)]
    if not publics or len(publics) != len(found):
        raise BadInput("--key", "must be a file of Ed25519 public keys as PEM")
    return believed(*publics)


def _require_active(connection: Connection, tenant: str) -> None:
    found = tenant_row(connection, tenant)
    if found is None:
        raise NotFound("there is no such tenant", code="tenant_absent")
    # What is offline goes on: who is shut here must not be given a licence there.
    if found.state != "active" or found.access_mode != "full":
        raise Refused(
            "the tenant is not active",
            code="tenant_not_active",
            rule="licence.tenant",
            fact="tenant_state",
        )
