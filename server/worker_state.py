"""What the running worker says of itself in its 0600 state file. Not a sign of life: the lock is that."""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from server.private_files import read_own_file, write_new_file

_BYTES_MAX = 16_384


class WorkerState(BaseModel):
    """Where the policy engine is, which bundle it decides by, and through whom it collects."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pid: int
    socket: str
    bundle: str
    catalog: str
    started_at: str
    payments: tuple[str, ...] = ()


def write_state(path: Path, state: WorkerState) -> None:
    """Replace the file at once: a reader sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new_file(draft, state.model_dump_json().encode())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_state(path: Path) -> WorkerState | None:
    """What the worker said last; None when it said nothing that can be read."""
    try:
        return WorkerState.model_validate_json(read_own_file(path, bytes_max=_BYTES_MAX))
    except (FileNotFoundError, ValidationError):
        return None
