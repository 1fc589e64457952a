"""The report of a verification: what was found, and up to where it holds. Not the verification."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from control_plane.audit.checkpoint import Checkpoint, parse_and_verify
from control_plane.audit.note import NoteError, parse_verifier_key

FINDINGS_MAX: Final = 1_000


class FindingCode(StrEnum):
    """Everything that verification can find: a closed list."""

    CHECKPOINT_MALFORMED = "checkpoint_malformed"
    CHECKPOINT_ORDER = "checkpoint_order"
    SIGNATURE_FALSE = "signature_false"
    SIGNING_KEY_REPLACED = "signing_key_replaced"
    ORIGIN_CHANGED = "origin_changed"
    ROOT_MISMATCH = "root_mismatch"
    LOG_TRUNCATED = "log_truncated"
    LEAF_GAP = "leaf_gap"
    LEAF_MALFORMED = "leaf_malformed"
    LEAVES_UNSIGNED = "leaves_unsigned"
    LEAVES_UNSEQUENCED = "leaves_unsequenced"
    HEAD_MISMATCH = "head_mismatch"
    PAYLOAD_ALTERED = "payload_altered"
    PAYLOAD_MISSING = "payload_missing"
    ROW_ALTERED = "row_altered"
    ROW_MISSING = "row_missing"
    ROW_UNWRITTEN = "row_unwritten"
    KEY_CHANGED = "key_changed"
    CATALOG_CHANGED = "catalog_changed"
    EXTERNAL_CHECKPOINT_INVALID = "external_checkpoint_invalid"
    ROLLED_BACK = "rolled_back"
    FORKED = "forked"
    EXPORT_MALFORMED = "export_malformed"
    PROOF_FALSE = "proof_false"


NOTICES: Final = frozenset({FindingCode.LEAVES_UNSEQUENCED})
"""What is told and is no tamper: leaves wait while no worker runs."""

_ELSEWHERE: Final = frozenset(
    {FindingCode.ROLLED_BACK, FindingCode.FORKED, FindingCode.EXTERNAL_CHECKPOINT_INVALID}
)
_NOTE_CODES: Final = {
    "note_unknown_key": FindingCode.SIGNING_KEY_REPLACED,
    "note_signature": FindingCode.SIGNATURE_FALSE,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold, and where; it shows no payload."""

    code: FindingCode
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found over `size` leaves whose recomputed root is `root` (32 bytes).

    `rollback_excluded` is True only when the log begins with a checkpoint that was kept elsewhere;
    it speaks of nothing after that checkpoint. `left_out` counts findings beyond the first 1,000.
    """

    findings: tuple[Finding, ...]
    size: int
    root: bytes
    rollback_excluded: bool
    left_out: int = 0

    @property
    def intact(self) -> bool:
        """Whether nothing was found but what is a mere notice."""
        return not self.tampers and not self.left_out

    @property
    def tampers(self) -> tuple[Finding, ...]:
        """The findings that something was altered."""
        return tuple(one for one in self.findings if one.code not in NOTICES)

    @property
    def notices(self) -> tuple[Finding, ...]:
        """The findings that are told and are no tamper."""
        return tuple(one for one in self.findings if one.code in NOTICES)

    def statement(self) -> str:
        """One sentence on rollback, for people."""
        if self.rollback_excluded:
            return "The log extends the checkpoint that was kept elsewhere."
        if any(one.code in _ELSEWHERE for one in self.findings):
            return (
                "The log does not extend the checkpoint that was kept elsewhere: "
                "it was rolled back, rewritten or signed with another key."
            )
        return (
            "A rollback of the whole store cannot be excluded: "
            "verify against a checkpoint that was kept elsewhere."
        )


class Findings:
    """Findings as they are made, the first 1,000 kept."""

    def __init__(self) -> None:
        """None yet."""
        self._kept: list[Finding] = []
        self._left_out = 0

    def add(self, code: FindingCode, detail: str) -> None:
        """Note one finding."""
        if len(self._kept) < FINDINGS_MAX:
            self._kept.append(Finding(code, detail))
        else:
            self._left_out += 1

    def report(self, size: int, root: bytes, *, rollback_excluded: bool) -> Report:
        """The finished report."""
        return Report(tuple(self._kept), size, root, rollback_excluded, self._left_out)


def read_checkpoint(note: str, verifier_key: str) -> Checkpoint | FindingCode:
    """The checkpoint of a note by the log's key, or why it is none; the key's name is the origin.

    Raises NoteError(`verifier_key`) when the verifier key itself is malformed.
    """
    origin = parse_verifier_key(verifier_key).name
    try:
        checkpoint = parse_and_verify(note, verifier_key)
    except NoteError as error:
        return _NOTE_CODES.get(error.code, FindingCode.CHECKPOINT_MALFORMED)
    return checkpoint if checkpoint.origin == origin else FindingCode.ORIGIN_CHANGED
