"""The engine's own compiler over a folder of policies: what it finds, by file and line. Not the house's rules."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from policies.errors import GateUnavailable
from policies.sources import Document, mapping, sequence

_TIMEOUT_S: Final = 60.0
_FOUND: Final = 3  # the compiler's exit code when policies do not load or compile
_RULE_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True, order=True)
class Misfit:
    """One thing that the compiler found; `line` is 0 where it told none."""

    file: str
    line: int
    part: str
    rule: str


def compile_folder(binary: Path, folder: Path) -> tuple[Misfit, ...]:
    """Compile the policies of a folder, as the engine would load them; empty when all is well.

    What does not load hides what does not compile. Raises `GateUnavailable` when the compiler
    gives no answer that can be read.
    """
    command = [str(binary), "compile", "--skip-tests", "--strict-evaluation", "--output=json"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"HOME": str(folder), "CERBOS_NO_TELEMETRY": "1"},
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode == 0:
            return ()
        said: object = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise GateUnavailable("the policy engine's compiler gives no answer") from error
    found = tuple(sorted({_misfit(one) for one in _entries(mapping(said))}))
    if done.returncode != _FOUND or not found:
        raise GateUnavailable("the policy engine's compiler gives no answer")
    return found


def _entries(said: Document) -> list[Document]:
    """Every list of findings, whatever it is called: a new kind of finding must not be lost."""
    groups = [mapping(group) for group in said.values()]
    lists = [sequence(items) for group in groups for items in group.values()]
    return [mapping(item) for items in lists for item in items]


def _misfit(entry: Document) -> Misfit:
    position = mapping(entry.get("position")) or mapping(
        mapping(entry.get("error_details")).get("position")
    )
    line = position.get("line")
    file = entry.get("file") or entry.get("importing_file") or ""
    rule = entry.get("description") or entry.get("desc") or entry.get("error") or "does not load"
    return Misfit(
        file=str(file),
        line=line if isinstance(line, int) else 0,
        part=str(position.get("path") or "").removeprefix("$."),
        rule=str(rule)[:_RULE_CHARS_MAX],
    )
