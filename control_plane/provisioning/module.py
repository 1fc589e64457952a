"""A stack's module as files: their digest, copy and check. Not what Terraform makes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from control_plane.errors import Refused
from control_plane.provisioning import scan

LOCK_FILE: Final = ".terraform.lock.hcl"
OVERRIDE_FILE: Final = "paybill_override.tf.json"
_FILES_MAX: Final = 200
_FILE_BYTES_MAX: Final = 1024 * 1024
_LEFT_OUT: Final = frozenset({".terraform"})


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


def copy(files: dict[Path, bytes], folder: Path) -> None:
    """Write a module's files below `folder`."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
