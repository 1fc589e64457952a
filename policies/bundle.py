"""A bundle: policies, linted, stamped with their digest and immutable. Not a running engine.

A bundle lies in `into/<digest>/`. The digest covers the sources in normal form, so a bundle
proves itself: taking the stamps off its files must give the digest that names the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

from filelock import FileLock

from policies.errors import BundleError
from policies.lint import PLACEHOLDER_VERSION, lint
from policies.sources import FILES_MAX, Document, parse, read_file, read_sources

_LOCK_TIMEOUT_S = 30.0
_DIGEST_PREFIX = 16
_DOMAIN = b"paybill-bundle-1"
_GENERATED = re.compile(r"_schemas/\w+\.json|\w+\.yaml", re.ASCII)
_NOTHING: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bundle:
    """`directory` is what the engine reads; `version` is what every request must ask for."""

    digest: str
    version: str
    directory: Path


def build_bundle(
    sources: Sequence[Path], into: Path, generated: Mapping[str, Mapping[str, object]] = _NOTHING
) -> Bundle:
    """Lint, stamp and store the policies of `sources` under `into`; reuse them when intact.

    Documents that are `generated`, by path, are part of it like files; no file may have the path
    of one. Raises `BundleError` with every finding.
    """
    documents = read_sources(sources)
    taken = [f"{path}: is generated and must be no file" for path in generated if path in documents]
    documents |= _as_files(generated)
    if not documents:
        raise BundleError("there is no policy")
    findings = sorted([*taken, *lint(documents)])
    if findings:
        raise BundleError(*findings)
    digest = _digest(documents)
    files = _stamped(documents, _version(digest))
    into.mkdir(parents=True, exist_ok=True)
    with FileLock(into / ".lock", timeout=_LOCK_TIMEOUT_S):
        target = into / digest
        if _on_disk(target) != files:
            _replace(target, files)
    return Bundle(digest, _version(digest), into / digest)


def _as_files(generated: Mapping[str, Mapping[str, object]]) -> dict[str, Document]:
    if not all(_GENERATED.fullmatch(path) for path in generated):
        raise BundleError("a generated document must have the path of a policy or a schema")
    return {
        path: parse(path, _render(path, dict(document))) for path, document in generated.items()
    }


def load_bundle(into: Path, named: str) -> Bundle:
    """Open a bundle that was built before, by its digest or its version.

    Raises `BundleError` when it is absent, altered, or not the only one of that version.
    """
    digest = _whole_digest(into, named)
    target = into / digest
    found = _on_disk(target)
    if found is None:
        raise BundleError("the bundle is not there")
    documents = {path: parse(path, content) for path, content in found.items()}
    for body in _policies(documents):
        body["version"] = PLACEHOLDER_VERSION
    if _digest(documents) != digest or _stamped(documents, _version(digest)) != found:
        raise BundleError("the bundle was altered")
    return Bundle(digest, _version(digest), target)


def _whole_digest(into: Path, named: str) -> str:
    if len(named) != 1 + _DIGEST_PREFIX or not named.startswith("d"):
        return named
    found = [entry.name for entry in into.glob(f"{named[1:]}*") if entry.is_dir()]
    if len(found) != 1:
        raise BundleError("there is no such bundle, or more than one")
    return found[0]


def _version(digest: str) -> str:
    return f"d{digest[:_DIGEST_PREFIX]}"


def _digest(documents: Mapping[str, Document]) -> str:
    """SHA-256 over the sorted (path, content) pairs, each with its length before it."""
    total = hashlib.sha256(_DOMAIN)
    for path, content in sorted(_rendered(documents).items()):
        for part in (path.encode(), content):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


def _stamped(documents: dict[str, Document], version: str) -> dict[str, bytes]:
    for body in _policies(documents):
        body["version"] = version
    return _rendered(documents)


def _policies(documents: Mapping[str, Document]) -> list[dict[str, object]]:
    found = [document.get("resourcePolicy") for document in documents.values()]
    return [cast("dict[str, object]", body) for body in found if isinstance(body, dict)]


def _rendered(documents: Mapping[str, Document]) -> dict[str, bytes]:
    return {path: _render(path, document) for path, document in documents.items()}


def _render(path: str, document: Document) -> bytes:
    # JSON is YAML too, and comes out the same from every YAML library.
    try:
        text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False)
        return text.encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path}: holds a value that is not plain") from error


def _on_disk(target: Path) -> dict[str, bytes] | None:
    if not target.is_dir() or target.is_symlink():
        return None
    found: dict[str, bytes] = {}
    for entry in sorted(target.rglob("*"))[: 2 * FILES_MAX]:
        path = entry.relative_to(target).as_posix()
        if entry.is_symlink():
            found[path] = b""  # equal to nothing that was ever rendered
        elif entry.is_file():
            found[path] = read_file(entry, path)
    return found


def _replace(target: Path, files: Mapping[str, bytes]) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        for path, content in files.items():
            file = fresh / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        _make_read_only(fresh)
        if target.exists() or target.is_symlink():
            _remove(target)
        fresh.rename(target)
    finally:
        if fresh.exists():
            _remove(fresh)


def _make_read_only(folder: Path) -> None:
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            (Path(root) / name).chmod(stat.S_IRUSR)
        Path(root).chmod(stat.S_IRUSR | stat.S_IXUSR)


def _remove(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
        return
    for root, _, _ in os.walk(folder):
        Path(root).chmod(stat.S_IRWXU)
    shutil.rmtree(folder)
