"""A stack's module as files: their digest, copy and check. Not what Terraform makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from control_plane.errors import Refused
from control_plane.provisioning import scan

LOCK_FILE: Final = ".terraform.lock.hcl"
OVERRIDE_FILE: Final = "paybill_override.tf.json"
_FILES_MAX: Final = 200
_FILE_BYTES_MAX: Final = 1024 * 1024
_LEFT_OUT: Final = frozenset({".terraform"})
# What Terraform would read from the folder by itself: values, a state, overrides that come after
# ours, tests and plugins. None of it is seen in a plan.
_NOT_A_MODULES: Final = (
    *(".tfvars", ".tfvars.json", ".tfstate", ".tfstate.backup", ".tfbackend"),
    *(".tftest.hcl", ".tftest.json", ".tfquery.hcl", "override.tf", "override.tf.json"),
)
_NOT_ITS_FOLDERS: Final = frozenset({".terraform", "terraform.d", "terraform.tfstate.d"})


def read(path: Path) -> dict[Path, bytes]:
    """A module's files by relative path, in order; `.terraform` is left out.

    Raises Refused(bad_module) for a missing folder, a link, a special file, or too much of it.
    """
    if not path.is_dir() or path.is_symlink():
        raise Refused("the module is not a folder", code="bad_module")
    files: dict[Path, bytes] = {}
    for one in sorted(path.rglob("*")):
        relative = one.relative_to(path)
        if relative.parts[0] in _LEFT_OUT or (one.is_dir() and not one.is_symlink()):
            continue
        if one.is_symlink() or not one.is_file() or one.stat().st_size > _FILE_BYTES_MAX:
            raise Refused("the module holds a link or too large a file", code="bad_module")
        files[relative] = one.read_bytes()
        if len(files) > _FILES_MAX:
            raise Refused(f"the module has more than {_FILES_MAX} files", code="bad_module")
    return files


def digest_of(files: dict[Path, bytes]) -> str:
    """SHA-256 over sorted relative paths and contents, each with its length before it."""
    hasher = hashlib.sha256()
    for path in sorted(files):
        for part in (path.as_posix().encode(), files[path]):
            hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.hexdigest()


def tree_digest(path: Path) -> str:
    """The digest of a module's folder: 64 hexadecimal digits."""
    return digest_of(read(path))


def check(
    files: dict[Path, bytes],
    admitted_modules: frozenset[str] = frozenset(),
    allowed_providers: frozenset[str] = frozenset({scan.BUILTIN}),
) -> None:
    """Refuse a module that could reach out, before Terraform sees it; see scan.check for codes."""
    if Path(OVERRIDE_FILE) in files:
        raise Refused(f"the module may not hold {OVERRIDE_FILE}", code="bad_module")
    if any(_is_not_a_modules(path) for path in files):
        raise Refused("the module holds values, a state or overrides", code="bad_module")
    try:
        texts = {
            path: content.decode("utf-8")
            for path, content in files.items()
            if path.name.endswith((".tf", ".tf.json"))
        }
    except UnicodeDecodeError as error:
        raise Refused("a module file is not UTF-8", code="module_unreadable") from error
    admitted = digest_of(files) in admitted_modules
    scan.check(texts, allowed_providers, provisioners_admitted=admitted)


def provider_aliases(files: Mapping[Path, bytes], provider: str) -> tuple[str, ...]:
    """The alias of each block of a provider in the module itself; empty for the default one."""
    found: list[str] = []
    for path, content in sorted(files.items()):
        if path.suffix != ".tf" or len(path.parts) > 1:
            continue
        words = scan.tokens(content.decode("utf-8"))
        for inside, position in scan.walk(words):
            following = words[position + 1 : position + 3]
            if not inside and words[position] == "provider" and following[:1] == [f'"{provider}"']:
                found.append(_alias(words[position + 3 :]))
    return tuple(found)


def _alias(words: list[str]) -> str:
    """The alias that a block says, whose words follow."""
    depth = 0
    for position, word in enumerate(words):
        depth += {"{": 1, "}": -1}.get(word, 0)
        if depth < 0:
            return ""
        if not depth and word == "alias" and words[position + 1 : position + 2] == ["="]:
            return words[position + 2].strip('"')
    return ""


def _is_not_a_modules(path: Path) -> bool:
    inside = _NOT_ITS_FOLDERS.intersection(path.parts[:-1])
    return bool(inside) or path.name.endswith(_NOT_A_MODULES)


def copy(files: dict[Path, bytes], folder: Path) -> None:
    """Write a module's files below `folder`."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
