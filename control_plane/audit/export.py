"""An export of the log as JSON lines, and its check without our store. Not an export of payloads.

The first line names the format and carries the signed checkpoint; each further line is one leaf
with its index. A whole export has every leaf under the checkpoint; a partial one has some leaves,
each with its inclusion proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.audit.checkpoint import Checkpoint
from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import Leaf, leaf_hash
from control_plane.audit.merkle import EMPTY_ROOT, inclusion_proof, verify_inclusion
from control_plane.audit.note import parse_verifier_key
from control_plane.audit.port import LogStore
from control_plane.audit.report import FindingCode, Findings, Report, read_checkpoint
from control_plane.audit.walk import stored_leaves
from control_plane.domain.canonical import canonical
from control_plane.errors import BadInput, Failed

PROOFS_MAX: Final = 1_000
LINE_CHARACTERS_MAX: Final = 2**20
LINES_MAX: Final = 2**30

_PROOF_NODES_MAX: Final = 64
_Model = TypeVar("_Model", bound=BaseModel)
_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Header(BaseModel):
    model_config = _STRICT

    format: Literal["paybill-audit-export-1"] = "paybill-audit-export-1"
    extent: Literal["whole", "partial"]
    checkpoint: str


class _Entry(BaseModel):
    model_config = _STRICT

    index: int = Field(ge=0)
    leaf: Leaf
    proof: tuple[str, ...] | None = Field(max_length=_PROOF_NODES_MAX)


def export_whole(log: LogStore) -> Iterator[str]:
    """Every leaf under the newest checkpoint, a line each. Raises Failed when there is none yet."""
    note, size = _signed_head(log)
    yield _line(_Header(extent="whole", checkpoint=note))
    for entry in islice(stored_leaves(log), size):
        yield _line(_Entry(index=entry.index, leaf=entry.leaf, proof=None))


def export_partial(log: LogStore, indexes: Sequence[int]) -> Iterator[str]:
    """Up to 1,000 leaves with their inclusion proofs; reads the whole log once to make them.

    Raises BadInput when an index has no leaf under the newest checkpoint or they are too many.
    """
    note, size = _signed_head(log)
    if len(indexes) > PROOFS_MAX or not all(0 <= index < size for index in indexes):
        raise BadInput("indexes", f"at most {PROOFS_MAX}, each below the checkpoint's size")
    chosen: dict[int, Leaf] = {}
    hashes: list[bytes] = []
    wanted = set(indexes)
    for position, entry in enumerate(islice(stored_leaves(log), size)):
        hashes.append(leaf_hash(entry.leaf))
        if position in wanted:
            chosen[position] = entry.leaf
    if len(hashes) != size:
        raise Failed("the log has fewer leaves than its head says", code="audit_log_truncated")
    yield _line(_Header(extent="partial", checkpoint=note))
    for index, leaf in sorted(chosen.items()):
        proof = tuple(node.hex() for node in inclusion_proof(hashes, index))
        yield _line(_Entry(index=index, leaf=leaf, proof=proof))


def verify_export(
    lines: Iterable[str], verifier_key: str, *, checkpoint_note: str | None = None
) -> Report:
    """Check an export with the verifier key alone; what does not hold is found, not raised.

    A whole export is also held against `checkpoint_note`, an older note kept elsewhere. The
    report's size and root are those of the export's own checkpoint when its signature holds.
    Raises NoteError only when `verifier_key` itself is malformed.
    """
    parse_verifier_key(verifier_key)  # a malformed key is the caller's error, no finding
    findings = Findings()
    source = islice(lines, LINES_MAX)
    header = _parse(_Header, next(source, ""))
    if header is None:
        findings.add(FindingCode.EXPORT_MALFORMED, "the first line")
        return findings.report(0, EMPTY_ROOT, rollback_excluded=False)
    own = read_checkpoint(header.checkpoint, verifier_key)
    if isinstance(own, FindingCode):
        findings.add(own, "the export's checkpoint")
        return findings.report(0, EMPTY_ROOT, rollback_excluded=False)
    extends = False
    if header.extent == "whole":
        older = _older(checkpoint_note, verifier_key, findings)
        extends = _check_whole(source, own, older, findings)
    else:
        _check_partial(source, own, findings)
    return findings.report(own.size, own.root, rollback_excluded=extends)


def _signed_head(log: LogStore) -> tuple[str, int]:
    head = log.head()
    if head.note is None:
        raise Failed("the log has no checkpoint yet", retryable=True, code="audit_unsigned")
    return head.note, head.size


def _check_whole(
    source: Iterator[str], own: Checkpoint, older: Checkpoint | None, findings: Findings
) -> bool:
    frontier, extends = Frontier(), _is_prefix(Frontier(), older)
    for number, line in enumerate(source):
        entry = _parse(_Entry, line)
        if entry is None or entry.proof is not None or entry.index != number:
            findings.add(FindingCode.EXPORT_MALFORMED, f"the line of index {number}")
            return False
        frontier = frontier.append(leaf_hash(entry.leaf))
        extends = extends or _is_prefix(frontier, older)
    if frontier.size != own.size:
        detail = f"{frontier.size} leaves under a checkpoint of {own.size}"
        findings.add(FindingCode.LOG_TRUNCATED, detail)
    elif frontier.root() != own.root:
        findings.add(FindingCode.ROOT_MISMATCH, f"checkpoint of {own.size} leaves")
    if older is not None and not extends:
        code = FindingCode.ROLLED_BACK if older.size > frontier.size else FindingCode.FORKED
        findings.add(code, f"checkpoint of {older.size} leaves")
    return extends


def _is_prefix(frontier: Frontier, older: Checkpoint | None) -> bool:
    if older is None or frontier.size != older.size:
        return False
    return frontier.root() == older.root


def _check_partial(source: Iterator[str], own: Checkpoint, findings: Findings) -> None:
    for number, line in enumerate(islice(source, PROOFS_MAX + 1)):
        entry = _parse(_Entry, line)
        proof = None if entry is None else _nodes(entry.proof)
        if entry is None or proof is None or number >= PROOFS_MAX:
            findings.add(FindingCode.EXPORT_MALFORMED, f"leaf line {number}")
        elif not verify_inclusion(leaf_hash(entry.leaf), entry.index, own.size, proof, own.root):
            findings.add(FindingCode.PROOF_FALSE, f"index {entry.index}")


def _older(note: str | None, verifier_key: str, findings: Findings) -> Checkpoint | None:
    if note is None:
        return None
    older = read_checkpoint(note, verifier_key)
    if isinstance(older, FindingCode):
        findings.add(FindingCode.EXTERNAL_CHECKPOINT_INVALID, older)
        return None
    return older


def _nodes(proof: tuple[str, ...] | None) -> list[bytes] | None:
    if proof is None:
        return None
    try:
        return [bytes.fromhex(node) for node in proof]
    except ValueError:
        return None


def _line(model: BaseModel) -> str:
    return canonical(model).decode()


def _parse(kind: type[_Model], line: str) -> _Model | None:
    if len(line) > LINE_CHARACTERS_MAX:
        return None
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        return None
