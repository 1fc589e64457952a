"""A signing seed in a file of its own, raw or under a passphrase. Not a keyring.

Raw: exactly 32 bytes. Under a passphrase: a JSON envelope (scrypt, then AES-256-GCM).
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.domain.canonical import canonical
from control_plane.errors import PaybillError
from control_plane.secrets.signer import SEED_BYTES, key_id, public_bytes

_FILE_BYTES_MAX: Final = 4096
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_SCRYPT_N: Final = 2**15
_SCRYPT_N_MAX: Final = 2**20


class KeyFileError(PaybillError):
    """A key file cannot be written or read."""

    code = "key_file"


class _Kdf(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Literal["scrypt"] = "scrypt"
    salt: str = Field(max_length=64)
    n: int = Field(ge=_SCRYPT_N, le=_SCRYPT_N_MAX)
    r: Literal[8] = 8
    p: Literal[1] = 1


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["paybill-key-1"] = "paybill-key-1"
    key_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    kdf: _Kdf
    nonce: str = Field(max_length=64)
    ciphertext: str = Field(max_length=256)

    def header(self) -> bytes:
        """What the cipher authenticates besides the seed."""
        return canonical({"format": self.format, "key_id": self.key_id, "kdf": self.kdf})


def save_seed(path: Path, seed: bytes, passphrase: bytes | None = None) -> None:
    """Write a seed to a new file (0600) in a folder nobody else may enter (0700, made if absent).

    Raises KeyFileError: `key_exists` (a file is never overwritten), `key_folder` (others may
    enter), `key_passphrase` (empty); SignerError when the seed is not 32 bytes.
    """
    named = key_id(public_bytes(seed))
    content = seed if passphrase is None else _wrap(seed, named, passphrase)
    _private_folder(path.parent)
    _write_new(path, content)


def load_seed(path: Path, passphrase: bytes | None = None) -> bytes:
    """The 32-byte seed of a key file.

    Raises KeyFileError: `key_absent`, `key_mode` (others may read it, or it is no plain file),
    `key_passphrase` (needed, not needed or wrong), `key_malformed`.
    """
    content = _read_private(path)
    if len(content) == SEED_BYTES:
        if passphrase is not None:
            raise KeyFileError("the key file has no passphrase", code="key_passphrase")
        return content
    envelope = _parse(content)
    if passphrase is None:
        raise KeyFileError("the key file needs a passphrase", code="key_passphrase")
    return _unwrap(envelope, passphrase)


def _wrap(seed: bytes, named: str, passphrase: bytes) -> bytes:
    if not passphrase:
        raise KeyFileError("the passphrase is empty", code="key_passphrase")
    nonce = secrets.token_bytes(_NONCE_BYTES)
    kdf = _Kdf(salt=_text(secrets.token_bytes(_SALT_BYTES)), n=_SCRYPT_N)
    bare = _Envelope(key_id=named, kdf=kdf, nonce=_text(nonce), ciphertext="")
    ciphertext = AESGCM(_derive(kdf, passphrase)).encrypt(nonce, seed, bare.header())
    return canonical(bare.model_copy(update={"ciphertext": _text(ciphertext)}))


def _unwrap(envelope: _Envelope, passphrase: bytes) -> bytes:
    try:
        cipher = AESGCM(_derive(envelope.kdf, passphrase))
        nonce, ciphertext = _raw(envelope.nonce), _raw(envelope.ciphertext)
        seed = cipher.decrypt(nonce, ciphertext, envelope.header())
    except InvalidTag:
        raise KeyFileError("the passphrase does not fit", code="key_passphrase") from None
    except ValueError:
        raise KeyFileError("the key file is malformed", code="key_malformed") from None
    if len(seed) != SEED_BYTES or key_id(public_bytes(seed)) != envelope.key_id:
        raise KeyFileError("the key file is malformed", code="key_malformed")
    return seed


def _derive(kdf: _Kdf, passphrase: bytes) -> bytes:
    return Scrypt(salt=_raw(kdf.salt), length=32, n=kdf.n, r=kdf.r, p=kdf.p).derive(passphrase)


def _parse(content: bytes) -> _Envelope:
    try:
        return _Envelope.model_validate_json(content)
    except ValidationError:
        raise KeyFileError("the key file is malformed", code="key_malformed") from None


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) & _OTHERS:
        raise KeyFileError("others may enter the key's folder", code="key_folder")


def _write_new(path: Path, content: bytes) -> None:
    # A link of a finished file is the one way to appear whole and never over an older key.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(draft, flags, _FILE_MODE), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        raise KeyFileError("a key file is never overwritten", code="key_exists") from None
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_private(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK a pipe put in the key's place would hold the worker for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyFileError("there is no key file", code="key_absent") from None
    except OSError:
        raise KeyFileError("the key file cannot be opened", code="key_mode") from None
    with os.fdopen(handle, "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) & _OTHERS:
            raise KeyFileError("others may read the key file", code="key_mode")
        content = source.read(_FILE_BYTES_MAX + 1)
    if len(content) > _FILE_BYTES_MAX:
        raise KeyFileError("the key file is malformed", code="key_malformed")
    return content


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
