"""A bundle: policies, linted, stamped with their digest and immutable. Not a running engine.

A bundle lies in `into/<digest>/`. The digest covers the sources in normal form, so a bundle
proves itself: taking the stamps off its files must give the digest that names the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import yaml
from filelock import FileLock

from policies.errors import BundleError
from policies.lint import PLACEHOLDER_VERSION, Document, lint

_SCHEMAS = "_schemas"
_FILES_MAX = 2_000
_FILE_BYTES_MAX = 1024 * 1024
_LOCK_TIMEOUT_S = 30.0
_DIGEST_PREFIX = 16
_DOMAIN = b"paybill-bundle-1"
_LEFT_OUT = frozenset({"tests", "testdata"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """`directory` is what the engine reads; `version` is what every request must ask for."""

    digest: str
    version: str
    directory: Path


def build_bundle(sources: Sequence[Path], into: Path) -> Bundle:
    """Lint, stamp and store the policies of `sources` under `into`; reuse them when intact.

    Raises `BundleError` with every finding.
    """
    documents = _read_sources(sources)
    findings = lint(documents)
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


def load_bundle(into: Path, named: str) -> Bundle:
    """Open a bundle that was built before, by its digest or its version.

    Raises `BundleError` when it is absent, altered, or not the only one of that version.
    """
    digest = _whole_digest(into, named)
    target = into / digest
    found = _on_disk(target)
    if found is None:
        raise BundleError("the bundle is not there")
    documents = {path: _parse(path, content) for path, content in found.items()}
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


def _read_sources(sources: Sequence[Path]) -> dict[str, Document]:
    documents: dict[str, Document] = {}
    for source in sources:
        for file in _policy_files(source):
            path = file.relative_to(source).as_posix()
            if path in documents:
                raise BundleError(f"{path}: is in two sources")
            documents[path] = _parse(path, _read(file, path))
            if len(documents) > _FILES_MAX:
                raise BundleError(f"more than {_FILES_MAX} files")
    if not documents:
        raise BundleError("there is no policy")
    return documents


def _policy_files(source: Path) -> list[Path]:
    if not source.is_dir():
        raise BundleError(f"{source.name}: is no folder")
    return sorted(file for file in source.rglob("*") if _belongs(file.relative_to(source), file))


def _belongs(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    if hidden or _LEFT_OUT & set(relative.parts[:-1]) or relative.stem.endswith("_test"):
        return False
    wanted = {".json"} if relative.parts[0] == _SCHEMAS else {".yaml", ".yml"}
    return file.suffix in wanted and file.is_file()


def _read(file: Path, path: str) -> bytes:
    if file.is_symlink():
        raise BundleError(f"{path}: must not be a link")
    if file.stat().st_size > _FILE_BYTES_MAX:
        raise BundleError(f"{path}: is larger than {_FILE_BYTES_MAX} bytes")
    return file.read_bytes()


if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    # The parser in C reads the policies ten times as fast; not every build of PyYAML has it.
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(SafeLoader):
    """YAML in which a key may stand once: a second one would silently win."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        keys = [str(key.value) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError("a key stands twice")
        return cast("dict[Hashable, object]", super().construct_mapping(node, deep=deep))


def _parse(path: str, content: bytes) -> Document:
    try:
        if path.startswith(f"{_SCHEMAS}/"):
            parsed: object = json.loads(content)
        else:
            parsed = yaml.load(content, Loader=_StrictLoader)  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: does not parse as one document") from error
    if not isinstance(parsed, dict):
        raise BundleError(f"{path}: is no object")
    return cast("Document", parsed)


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
    for entry in sorted(target.rglob("*"))[: 2 * _FILES_MAX]:
        path = entry.relative_to(target).as_posix()
        if entry.is_symlink():
            found[path] = b""  # equal to nothing that was ever rendered
        elif entry.is_file():
            found[path] = _read(entry, path)
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
