"""A signed note (C2SP signed-note, Ed25519): text and signature lines. Not a checkpoint."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from control_plane.errors import PaybillError
from control_plane.secrets.signer import PUBLIC_BYTES, public_bytes, sign, verify

NOTE_BYTES_MAX: Final = 64 * 2**10
SIGNATURES_MAX: Final = 100

_ED25519: Final = b"\x01"
_KEY_HASH_BYTES: Final = 4
_KEY_HASH_DIGITS: Final = 8
_LINE_START: Final = "\N{EM DASH} "
_VERIFIER_KEY_PARTS: Final = 3


class NoteError(PaybillError):
    """A signed note, or a verifier key, does not hold.

    Codes: `note_malformed`, `note_unknown_key` (no signature by the key), `note_signature` (the
    key's signature is false), `verifier_key`.
    """

    code = "note_malformed"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whom to believe: a name and an Ed25519 public key (32 bytes)."""

    name: str
    public: bytes

    def key_hash(self) -> bytes:
        """The 4 bytes by which a signature line points at this key."""
        material = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(material).digest()[:_KEY_HASH_BYTES]

    def text(self) -> str:
        """The verifier key as text: name, key hash and key data, joined by plus signs."""
        return f"{self.name}+{self.key_hash().hex()}+{_encode(_ED25519 + self.public)}"


def verifier_key_of(name: str, seed: bytes) -> VerifierKey:
    """The verifier key of a name and a signing seed. Raises NoteError on a bad name."""
    if not _is_name(name):
        raise NoteError("a key name has no space and no plus sign", code="verifier_key")
    return VerifierKey(name, public_bytes(seed))


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a verifier key's text. Raises NoteError(`verifier_key`) when any part does not fit."""
    parts = text.split("+", _VERIFIER_KEY_PARTS - 1)
    if len(parts) != _VERIFIER_KEY_PARTS or not _is_name(parts[0]):
        raise NoteError("the verifier key is malformed", code="verifier_key")
    data = _decode(parts[2])
    if data is None or data[:1] != _ED25519 or len(data) != 1 + PUBLIC_BYTES:
        raise NoteError("the verifier key is not an Ed25519 key", code="verifier_key")
    key = VerifierKey(parts[0], data[1:])
    if len(parts[1]) != _KEY_HASH_DIGITS or parts[1] != key.key_hash().hex():
        raise NoteError("the verifier key's hash does not fit it", code="verifier_key")
    return key


def sign_text(text: str, name: str, seed: bytes) -> str:
    """The note of `text` (which ends in a newline) with one signature. Raises NoteError."""
    if not text.endswith("\n") or _has_control(text):
        raise NoteError("a note's text ends in a newline and has no control characters")
    key = verifier_key_of(name, seed)
    signature = _encode(key.key_hash() + sign(seed, text.encode()))
    return f"{text}\n{_LINE_START}{name} {signature}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that `key` signed; signatures by other keys are passed over.

    Raises NoteError: malformed, not signed by the key, or a signature of the key is false.
    """
    text, lines = _parts(note)
    signatures = [_signature(line) for line in lines]
    wanted = (key.name, key.key_hash())
    known = [raw for name, key_hash, raw in signatures if (name, key_hash) == wanted]
    if not known:
        raise NoteError("the note is not signed by this key", code="note_unknown_key")
    if not all(verify(key.public, text.encode(), signature) for signature in known):
        raise NoteError("the note's signature is false", code="note_signature")
    return text


def _parts(note: str) -> tuple[str, list[str]]:
    if len(note) > NOTE_BYTES_MAX or not note.endswith("\n") or _has_control(note):
        raise NoteError("the note is malformed")
    head, blank, tail = note.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    if not blank or not head or len(lines) > SIGNATURES_MAX:
        raise NoteError("the note is malformed")
    return head + "\n", lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    if not line.startswith(_LINE_START):
        raise NoteError("a signature line is malformed")
    name, space, encoded = line.removeprefix(_LINE_START).partition(" ")
    raw = _decode(encoded)
    if not space or not _is_name(name) or raw is None or len(raw) <= _KEY_HASH_BYTES:
        raise NoteError("a signature line is malformed")
    return name, raw[:_KEY_HASH_BYTES], raw[_KEY_HASH_BYTES:]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def _has_control(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return any(c < " " and c != "\n" for c in text)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decode(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _encode(raw) == text else None  # unused trailing bits would let a note vary
