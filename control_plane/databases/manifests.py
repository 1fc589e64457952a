"""A backup's manifest as it lies there: signed, with the archive's key in it. Not the archive, and not the folder.

One line of canonical JSON: the manifest | the archive's key, wrapped under the tenant's data key and
bound to workspace, tenant, backup and the manifest's digest | the worker's signature over both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from secrets import token_bytes
from typing import Annotated, Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from control_plane.domain.backup_manifest import Manifest
from control_plane.domain.canonical import Json, canonical, digest, plain
from control_plane.errors import Refused
from control_plane.secrets.data_keys import OpenKey
from control_plane.secrets.signer import key_id, public_bytes, sign, verify

MANIFEST_BYTES_MAX: Final = 2**20
_SIGNED: Final = b"paybill manifest 1\n"
_NONCE_BYTES: Final = 12
# A fresh key of 32 bytes, its nonce and its tag, in hexadecimal digits.
_WRAPPED_DIGITS: Final = 2 * (_NONCE_BYTES + 32 + 16)


class _Lying(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    manifest: Manifest
    key: Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{_WRAPPED_DIGITS}}}$")]
    signed_by: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]


class SignedManifest:
    """A manifest whose signature holds, and the wrapped key beside it."""

    def __init__(self, manifest: Manifest, wrapped: bytes) -> None:
        self.manifest = manifest
        self._wrapped = wrapped

    def open_key(self, data_key: OpenKey) -> bytes:
        """The archive's key; Refused (`archive_key_refused`) where the data key is another."""
        nonce, sealed = self._wrapped[:_NONCE_BYTES], self._wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(data_key.content).decrypt(nonce, sealed, _context(self.manifest))
        except InvalidTag:
            raise Refused(
                "The archive is sealed under another key.", code="archive_key_refused"
            ) from None


class ManifestSigner:
    """Writes manifests with the worker's signing seed (32 raw bytes), and believes no other's."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._public = public_bytes(seed)

    def written(self, manifest: Manifest, archive_key: bytes, data_key: OpenKey) -> bytes:
        """The bytes of the manifest's file."""
        nonce = token_bytes(_NONCE_BYTES)
        sealed = AESGCM(data_key.content).encrypt(nonce, archive_key, _context(manifest))
        body = _body(manifest, (nonce + sealed).hex())
        signature = sign(self._seed, _SIGNED + canonical(body)).hex()
        return (
            canonical({**body, "signed_by": key_id(self._public), "signature": signature}) + b"\n"
        )

    def read(self, content: bytes) -> SignedManifest:
        """What a manifest's file says.

        Raises Refused: `manifest_unreadable` where it is no manifest, or not as it was written to
        the byte; `manifest_forged` where the signature is not the worker's, or of other contents.
        """
        try:
            told = json.loads(content)
            # As JSON again, strict still takes a list for a tuple.
            lying = _Lying.model_validate_json(content)
        except (ValueError, ValidationError, RecursionError):
            raise unreadable() from None
        if content != canonical(told) + b"\n":
            raise unreadable()
        message = _SIGNED + canonical(_body(lying.manifest, lying.key))
        signature = bytes.fromhex(lying.signature)
        if lying.signed_by != key_id(self._public) or not verify(self._public, message, signature):
            raise Refused("The manifest is not signed by this worker.", code="manifest_forged")
        return SignedManifest(lying.manifest, bytes.fromhex(lying.key))


def differs() -> Refused:
    """A manifest that holds, and is of another archive."""
    return Refused("The manifest is of another archive.", code="manifest_differs")


def unreadable() -> Refused:
    """What lies there is no manifest."""
    return Refused("The manifest cannot be read.", code="manifest_unreadable")


def _body(manifest: Manifest, key: str) -> Mapping[str, Json]:
    return {"manifest": _told(manifest), "key": key}


def _context(manifest: Manifest) -> bytes:
    named = [manifest.workspace, manifest.tenant, manifest.backup_id]
    return canonical(["archive key", *named, digest(_told(manifest))])


def _told(manifest: Manifest) -> dict[str, Json]:
    # What was signed before the team's own tables were told of is still what it says.
    said = cast("dict[str, Json]", plain(manifest))
    return {name: one for name, one in said.items() if (name, one) != ("team", None)}
