"""What a stack must offer so that Paybill can use it, and what of that a module lacks. It is read, never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from control_plane.domain.isolation import Cloud
from control_plane.errors import PaybillError
from control_plane.provisioning import module, scan
from control_plane.provisioning.site import PROVIDERS

VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenant_id": "string",
        "plan": "string",
        "isolation": "string",
        "region": "string",
        "size": "string",
        "name": "string",
        "labels": "map(string)",
        "shared": "map(string)",
    }
)
"""The variables that each stack is given, with their types; it declares every one."""
EPHEMERAL: Final = "database_password"
"""A stack may ask for this one too: it is ephemeral, so that no plan and no state holds it."""
OUTPUTS: Final = ("database",)
"""What each stack tells of itself at least."""


class Lack(NamedTuple):
    """One thing that a module lacks, and in which words of the contract."""

    about: str
    said: str


def lacks(folder: Path, cloud: Cloud) -> tuple[Lack, ...]:
    """What a module lacks of the contract, in a fixed order; empty where it can be used."""
    allowed = frozenset({scan.BUILTIN})
    if cloud in PROVIDERS:
        allowed |= {PROVIDERS[cloud].source}
    try:
        files = module.read(folder)
        module.check(files, frozenset(), allowed)
    except PaybillError as error:
        return (Lack("module", str(error)),)
    words = [
        scan.tokens(content.decode("utf-8"))
        for path, content in sorted(files.items())
        if path.name.endswith(".tf") and len(path.parts) == 1
    ]
    return (*_variables(words), *_outputs(words), *_versions(words, cloud))


def _variables(files: list[list[str]]) -> Iterator[Lack]:
    declared = _blocks(files, "variable")
    for name, kind in VARIABLES.items():
        if name not in declared:
            yield Lack(f"variable {name}", f"must be declared, with type {kind}")
        elif _setting(declared[name], "type") != kind:
            yield Lack(f"variable {name}", f"must have type {kind}")
    for name, words in declared.items():
        if name == EPHEMERAL and _setting(words, "ephemeral") != "true":
            yield Lack(f"variable {name}", "must be ephemeral: else the plan and the state hold it")
        elif name not in {*VARIABLES, EPHEMERAL} and _setting(words, "default") is None:
            yield Lack(f"variable {name}", "must have a default: nobody else gives it a value")
    if "labels" in declared and not any(
        words[at : at + 3] == ["var", ".", "labels"] for words in files for at in range(len(words))
    ):
        yield Lack("variable labels", "must be used: by its labels a resource is found again")


def _outputs(files: list[list[str]]) -> Iterator[Lack]:
    declared = _blocks(files, "output")
    for name in OUTPUTS:
        if name not in declared:
            yield Lack(f"output {name}", "must be declared")


def _versions(files: list[list[str]], cloud: Cloud) -> Iterator[Lack]:
    settings = [
        (path, words[position : position + 3])
        for words in files
        for path, position in scan.walk(words)
        if path[:1] == ("terraform",)
    ]
    if not any(path == ("terraform",) and one[0] == "required_version" for path, one in settings):
        yield Lack("terraform", "must say required_version")
    if cloud not in PROVIDERS:
        return
    if not any(_declares(words, PROVIDERS[cloud].name) for words in files):
        yield Lack(
            f"provider {PROVIDERS[cloud].name}", "must have a block, for the account's settings"
        )
    pinned = any(
        path[:2] == ("terraform", "required_providers")
        and one[0] == "version"
        and len(one) == 3  # noqa: PLR2004 - name, sign and value
        and one[2].strip('"').replace(" ", "").lstrip("=")[:1].isdigit()
        for path, one in settings
    )
    if not pinned:
        yield Lack(f"provider {PROVIDERS[cloud].name}", "must be pinned to one version")


def _declares(words: list[str], provider: str) -> bool:
    return any(
        not path and words[position : position + 2] == ["provider", f'"{provider}"']
        for path, position in scan.walk(words)
    )


def _blocks(files: list[list[str]], kind: str) -> dict[str, list[str]]:
    """The words inside each block `kind "name" { … }`, by name."""
    found: dict[str, list[str]] = {}
    for words in files:
        for path, position in scan.walk(words):
            if not path and words[position] == kind and words[position + 2 : position + 3] == ["{"]:
                found[words[position + 1].strip('"')] = _inside(words, position + 2)
    return found


def _inside(words: list[str], opening: int) -> list[str]:
    depth = 0
    for position in range(opening, len(words)):
        depth += {"{": 1, "}": -1}.get(words[position], 0)
        if depth == 0:
            return words[opening + 1 : position]
    return words[opening + 1 :]


def _setting(words: list[str], name: str) -> str | None:
    """The value of an argument of the block itself, its words joined; None where it has none."""
    for path, position in scan.walk(words):
        if not path and words[position] == name and words[position + 1 : position + 2] == ["="]:
            line = words[position + 2 :]
            end = line.index("\n") if "\n" in line else len(line)
            return "".join(line[:end])
    return None
