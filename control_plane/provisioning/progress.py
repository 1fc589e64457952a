"""What Terraform says of an apply while it is at work, read from its log as it grows. Names and states only, never a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

Doing: TypeAlias = Literal["create", "update", "delete", "replace", "read", "other"]
Stage: TypeAlias = Literal["started", "working", "done", "failed"]

_STAGES: Final = MappingProxyType[str, Stage](
    {
        "apply_start": "started",
        "apply_progress": "working",
        "apply_complete": "done",
        "apply_errored": "failed",
    }
)
_DOINGS: Final[frozenset[Doing]] = frozenset({"create", "update", "delete", "replace", "read"})
_READ_BYTES_MAX: Final = 1024 * 1024
_ADDRESS_CHARS_MAX: Final = 256


class Progress(BaseModel):
    """One resource at one moment: its address in the module, what is done with it, how far it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    address: str
    doing: Doing
    stage: Stage
    elapsed_s: int


Told: TypeAlias = Callable[[Progress], None]


def untold(_progress: Progress) -> None:
    """Nobody listens."""


class Following:
    """A log of `apply -json` that grows; `tell` is called once for each line that says how far it is."""

    def __init__(self, log_path: Path, tell: Told) -> None:
        self._path = log_path
        self._tell = tell
        self._position = 0
        self._rest = b""

    def read(self) -> None:
        """Tell what has been written since the last time; at most a mebibyte at once."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                read = file.read(_READ_BYTES_MAX)
        except FileNotFoundError:
            return
        self._position += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        if len(self._rest) > _READ_BYTES_MAX:
            self._rest = b""
        for line in lines:
            for told in _progress(line):
                self._tell(told)


def _progress(line: bytes) -> Iterator[Progress]:
    try:
        said: Any = json.loads(line)
        stage = _STAGES.get(said["type"])
        if stage is None:
            return
        hook = said["hook"]
        action = hook.get("action", "other")
        yield Progress(
            address=str(hook["resource"]["addr"])[:_ADDRESS_CHARS_MAX],
            doing=action if action in _DOINGS else "other",
            stage=stage,
            elapsed_s=int(hook.get("elapsed_seconds", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return
