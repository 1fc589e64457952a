"""The workspace's keys in its state folder. Not a tenant's keys, and not who may use which.

Each private half lies in a file of its own, so that a face can load its one key and no other.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.errors import PaybillError
from control_plane.secrets import box, signer
from control_plane.secrets.key_file import load_seed, save_seed
from server.private_files import read_own_file, require_own_folder, write_new_file

PUBLIC_NAME: Final = "public.json"
PASSPHRASE_CHARS_MIN: Final = 12
_PUBLIC_BYTES_MAX: Final = 4096
_KEY_BYTES: Final = 32
_ISSUER, _AUDIT, _SEAL = "issuer.key", "audit.key", "seal.key"
_FACE, _PROVISIONING, _ROOT = "face.key", "provisioning.key", "root.key"
_LICENCE: Final = "licence.key"


class KeysError(PaybillError):
    """The workspace's keys are not usable."""

    code = "keys"


class PublicKeys(BaseModel):
    """The public halves, as hexadecimal text of 32 bytes each: safe to show and to keep elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    issuer: str = Field(pattern=r"^[0-9a-f]{64}$")
    audit: str = Field(pattern=r"^[0-9a-f]{64}$")
    seal: str = Field(pattern=r"^[0-9a-f]{64}$")
    root: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def issuer_bytes(self) -> bytes:
        """Verifies tokens."""
        return bytes.fromhex(self.issuer)

    @property
    def audit_bytes(self) -> bytes:
        """Verifies checkpoints."""
        return bytes.fromhex(self.audit)

    @property
    def seal_bytes(self) -> bytes:
        """Payloads for the worker are sealed to it."""
        return bytes.fromhex(self.seal)

    @property
    def root_bytes(self) -> bytes:
        """Verifies enrolments."""
        return bytes.fromhex(self.root)

    @property
    def licence_bytes(self) -> bytes:
        """Verifies licences."""
        return bytes.fromhex(self.licence)


@dataclass(frozen=True, slots=True)
class FaceKeys:
    """What a face holds: public halves, and two secrets that give no right."""

    public: PublicKeys
    hmac_key: bytes = field(repr=False)
    cursor_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """What the worker holds: neither the root key, which is under a passphrase, nor that of licences."""

    face: FaceKeys
    issuer_seed: bytes = field(repr=False)
    audit_seed: bytes = field(repr=False)
    seal_private: bytes = field(repr=False)
    provisioning_hmac: bytes = field(repr=False)

    @property
    def public(self) -> PublicKeys:
        """The public halves."""
        return self.face.public


def create(folder: Path, passphrase: bytes) -> Keys:
    """Make every key in a new folder (0700, files 0600); the root key under the passphrase.

    Raises KeysError (`keys_exist`, `passphrase_weak`).
    """
    require_strong(passphrase)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise KeysError("the folder of keys is there already", code="keys_exist") from None
    issuer, audit, root = signer.new_seed(), signer.new_seed(), signer.new_seed()
    licence = signer.new_seed()
    seal_private, seal_public = box.new_keypair()
    save_seed(folder / _ISSUER, issuer)
    save_seed(folder / _AUDIT, audit)
    save_seed(folder / _SEAL, seal_private)
    save_seed(folder / _FACE, secrets.token_bytes(_KEY_BYTES))
    save_seed(folder / _PROVISIONING, secrets.token_bytes(_KEY_BYTES))
    save_seed(folder / _ROOT, root, passphrase)
    save_seed(folder / _LICENCE, licence)
    public = PublicKeys(
        issuer=signer.public_bytes(issuer).hex(),
        audit=signer.public_bytes(audit).hex(),
        seal=seal_public.hex(),
        root=signer.public_bytes(root).hex(),
        licence=signer.public_bytes(licence).hex(),
    )
    text = json.dumps(public.model_dump(), indent=1, sort_keys=True) + "\n"
    write_new_file(folder / PUBLIC_NAME, text.encode())
    return load(folder)


def load(folder: Path) -> Keys:
    """Every key that the worker holds.

    Raises KeysError (`keys_absent`, `keys_malformed`, `keys_mismatch`), NotPrivate, KeyFileError.
    """
    face = load_face(folder)
    keys = Keys(
        face=face,
        issuer_seed=load_issuer(folder, face.public),
        audit_seed=load_seed(folder / _AUDIT),
        seal_private=load_seed(folder / _SEAL),
        provisioning_hmac=load_seed(folder / _PROVISIONING),
    )
    _require_pair("audit", signer.public_bytes(keys.audit_seed), face.public.audit)
    _require_pair("seal", box.public_of(keys.seal_private), face.public.seal)
    return keys


def load_face(folder: Path) -> FaceKeys:
    """The keys of a face, and no other file is opened. Errors as `load`."""
    public = load_public(folder)
    secret = load_seed(folder / _FACE)
    return FaceKeys(public, _derived(secret, b"hmac"), _derived(secret, b"cursor"))


def load_public(folder: Path) -> PublicKeys:
    """The public halves. Errors as `load`."""
    try:
        require_own_folder(folder, closed=True)
        content = read_own_file(folder / PUBLIC_NAME, bytes_max=_PUBLIC_BYTES_MAX)
        return PublicKeys.model_validate_json(content)
    except FileNotFoundError:
        raise KeysError("the workspace has no keys", code="keys_absent") from None
    except ValidationError:
        raise KeysError(f"{PUBLIC_NAME} is malformed", code="keys_malformed") from None


def load_issuer(folder: Path, public: PublicKeys) -> bytes:
    """The seed that signs tokens. Errors as `load`."""
    seed = load_seed(folder / _ISSUER)
    _require_pair("issuer", signer.public_bytes(seed), public.issuer)
    return seed


def load_licence(folder: Path, public: PublicKeys) -> bytes:
    """The seed that signs licences, and nothing else. Errors as `load`."""
    seed = load_seed(folder / _LICENCE)
    _require_pair("licence", signer.public_bytes(seed), public.licence)
    return seed


def load_root(folder: Path, passphrase: bytes) -> bytes:
    """The seed that signs enrolments. Errors as `load`; KeyFileError when the passphrase is wrong."""
    public = load_public(folder)
    seed = load_seed(folder / _ROOT, passphrase)
    _require_pair("root", signer.public_bytes(seed), public.root)
    return seed


def require_strong(passphrase: bytes) -> None:
    """Raise KeysError (`passphrase_weak`) when a passphrase is too short to stand alone."""
    if len(passphrase.decode("utf-8", "replace")) < PASSPHRASE_CHARS_MIN:
        raise KeysError(
            f"the passphrase must have at least {PASSPHRASE_CHARS_MIN} characters",
            code="passphrase_weak",
        )


def _derived(secret: bytes, purpose: bytes) -> bytes:
    info = b"paybill face 1 " + purpose
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)


def _require_pair(name: str, found: bytes, expected: str) -> None:
    if found.hex() != expected:
        raise KeysError(f"the {name} key does not belong to {PUBLIC_NAME}", code="keys_mismatch")
