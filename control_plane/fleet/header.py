"""The header of a migration file: comment lines that say how it is to be applied. Not its statements."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, StringConstraints

from control_plane.domain.near_names import did_you_mean
from control_plane.fleet.finding import Finding

Phase: TypeAlias = Literal["expand", "contract"]

LOCK_MS_MAX: Final = 30_000
STATEMENT_MS_MAX: Final = 600_000
STEM: Final = r"[0-9]{4}_[a-z0-9]+(?:_[a-z0-9]+)*"
_LINE: Final = re.compile(r"-- ([a-z_]+): (\S+)")
_REQUIRED: Final = ("phase", "transactional", "lock_timeout_ms", "statement_timeout_ms")
_KEYS: Final = (*_REQUIRED, "completes", "reversible_by")
_LINES_MAX: Final = 40
_WHOLE: Final = re.compile(r"[1-9][0-9]{0,6}")
_STEM: Final = re.compile(STEM)

Stem: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{STEM}$")]


class Header(BaseModel):
    """How a migration is applied.

    A contract `completes` an expand, by that one's name; `reversible_by` names a later migration
    that takes this one back. No statement waits longer than `lock_timeout_ms` for a lock, nor runs
    longer than `statement_timeout_ms`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    phase: Phase
    transactional: bool
    lock_timeout_ms: Annotated[int, Ge(1), Le(LOCK_MS_MAX)]
    statement_timeout_ms: Annotated[int, Ge(1), Le(STATEMENT_MS_MAX)]
    completes: Stem | None = None
    reversible_by: Stem | None = None


def read_header(file: str, text: str) -> tuple[Header | None, list[Finding]]:
    """The header, or what is wrong with it: its lines stand first, each once, before an empty one."""
    found: dict[str, str] = {}
    findings: list[Finding] = []
    for number, line in enumerate(text.split("\n")[:_LINES_MAX], start=1):
        if not line.startswith("--"):
            break
        named = _LINE.fullmatch(line.rstrip("\r"))
        if named is None:
            findings.append(Finding(file, number, "header", "must be `-- key: value`"))
        elif named[1] not in _KEYS:
            near = did_you_mean(named[1], _KEYS)
            findings.append(Finding(file, number, "header", f"{named[1]} is not known{near}"))
        elif named[1] in found:
            findings.append(Finding(file, number, "header", f"{named[1]} stands twice"))
        else:
            found[named[1]] = named[2]
            findings += _wrong(file, number, named[1], named[2])
    findings += [
        Finding(file, 1, "header", f"{key} must be said") for key in _REQUIRED if key not in found
    ]
    if not findings:
        findings = _disagreeing(file, found)
    return (None, findings) if findings else (_made(found), [])


def _made(found: dict[str, str]) -> Header:
    return Header.model_validate(
        {
            **found,
            "transactional": found["transactional"] == "true",
            "lock_timeout_ms": int(found["lock_timeout_ms"]),
            "statement_timeout_ms": int(found["statement_timeout_ms"]),
        }
    )


def _wrong(file: str, line: int, key: str, value: str) -> list[Finding]:
    choices = {"phase": ("expand", "contract"), "transactional": ("true", "false")}
    bounds = {"lock_timeout_ms": LOCK_MS_MAX, "statement_timeout_ms": STATEMENT_MS_MAX}
    rule = ""
    if key in choices and value not in choices[key]:
        rule = "must be one of " + ", ".join(choices[key])
    elif key in bounds and not (_WHOLE.fullmatch(value) and int(value) <= bounds[key]):
        rule = f"must be a number from 1 to {bounds[key]}"
    elif key in ("completes", "reversible_by") and _STEM.fullmatch(value) is None:
        rule = "must be a migration's name, such as 0001_words"
    return [Finding(file, line, "header", f"{key} {rule}")] if rule else []


def _disagreeing(file: str, found: dict[str, str]) -> list[Finding]:
    rules: list[str] = []
    if (found["phase"] == "contract") != ("completes" in found):
        rules.append("a contract names the expand that it completes, and an expand names none")
    if int(found["lock_timeout_ms"]) > int(found["statement_timeout_ms"]):
        rules.append("lock_timeout_ms must not be above statement_timeout_ms")
    return [Finding(file, 1, "header", rule) for rule in rules]
