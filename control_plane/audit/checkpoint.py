"""A checkpoint (C2SP tlog-checkpoint): a log's origin, size and root, signed. Not its leaves."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from control_plane.audit.merkle import HASH_BYTES
from control_plane.audit.note import NoteError, open_note, parse_verifier_key, sign_text

_LINES_MIN: Final = 3
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: whose log, how many leaves, and their RFC 9162 root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that a note signs."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\n"


def parse_text(text: str) -> Checkpoint:
    """Read a checkpoint's text, extension lines passed over. Raises NoteError when malformed."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < _LINES_MIN or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise NoteError("the checkpoint is malformed")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("the checkpoint is malformed") from None
    if len(root) != HASH_BYTES:
        raise NoteError("the checkpoint's root has another length")
    return Checkpoint(lines[0], int(lines[1]), root)


def sign_note(checkpoint: Checkpoint, name: str, seed: bytes) -> str:
    """The checkpoint as a signed note under `name`. Raises NoteError, SignerError."""
    text = checkpoint.text()
    if parse_text(text) != checkpoint:
        raise NoteError("the checkpoint cannot be written as a note")
    return sign_text(text, name, seed)


def parse_and_verify(note: str, verifier_key: str) -> Checkpoint:
    """The checkpoint of a note that the key signed. Raises NoteError; its code is the reason."""
    return parse_text(open_note(note, parse_verifier_key(verifier_key)))
