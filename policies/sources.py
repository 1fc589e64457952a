"""Policy sources: files read and parsed, and what they say. Not the rules that they are held to.

A document is named by its path below its source; those under `_schemas/` are JSON, others YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import yaml

from policies.errors import BundleError

Document: TypeAlias = "dict[str, object]"
Side: TypeAlias = Literal["resource", "principal"]

SCHEMAS = "_schemas"
FILES_MAX = 2_000
_FILE_BYTES_MAX = 1024 * 1024
_LEFT_OUT = frozenset({"tests", "testdata"})
_ATTRIBUTES: dict[Side, re.Pattern[str]] = {
    "resource": re.compile(r"\b(?:R|request\s*\.\s*resource)\s*\.\s*attr\b(?:\s*\.\s*(\w+))?"),
    "principal": re.compile(r"\b(?:P|request\s*\.\s*principal)\s*\.\s*attr\b(?:\s*\.\s*(\w+))?"),
}


def read_sources(sources: Sequence[Path]) -> dict[str, Document]:
    """Every document of the folders by its path. Raises `BundleError`."""
    documents: dict[str, Document] = {}
    for source in sources:
        for file in _policy_files(source):
            path = file.relative_to(source).as_posix()
            if path in documents:
                raise BundleError(f"{path}: is in two sources")
            documents[path] = parse(path, read_file(file, path))
            if len(documents) > FILES_MAX:
                raise BundleError(f"more than {FILES_MAX} files")
    return documents


def _policy_files(source: Path) -> list[Path]:
    if not source.is_dir():
        raise BundleError(f"{source.name}: is no folder")
    return sorted(file for file in source.rglob("*") if _belongs(file.relative_to(source), file))


def _belongs(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    if hidden or _LEFT_OUT & set(relative.parts[:-1]) or relative.stem.endswith("_test"):
        return False
    wanted = {".json"} if relative.parts[0] == SCHEMAS else {".yaml", ".yml"}
    return file.suffix in wanted and file.is_file()


def read_file(file: Path, path: str) -> bytes:
    """The bytes of one file, which is no link and not too large. Raises `BundleError`."""
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


def parse(path: str, content: bytes) -> Document:
    """One plain document. Raises `BundleError` naming the path."""
    try:
        if path.startswith(f"{SCHEMAS}/"):
            parsed: object = json.loads(content)
        else:
            parsed = yaml.load(content, Loader=_StrictLoader)  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: does not parse as one document") from error
    if not isinstance(parsed, dict):
        raise BundleError(f"{path}: is no object")
    return cast("Document", parsed)


def mentioned(side: Side, body: Document, documents: Mapping[str, Document]) -> set[str]:
    """The attributes that a policy's body uses, with what it imports; "" is one without a dot."""
    parts = [body, *imports(body, documents)]
    return {found for text in texts_of(parts) for found in _ATTRIBUTES[side].findall(text)}


def imports(body: Document, documents: Mapping[str, Document]) -> list[Document]:
    """The derived roles that a policy's body names, and the variables that it or they name."""
    roles = _named("derivedRoles", sequence(body.get("importDerivedRoles")), documents)
    users = [mapping(one.get("variables")) for one in (body, *roles)]
    names = [name for user in users for name in sequence(user.get("import"))]
    return [*roles, *_named("exportVariables", names, documents)]


def _named(part: str, names: list[object], documents: Mapping[str, Document]) -> list[Document]:
    bodies = [mapping(document.get(part)) for document in documents.values() if part in document]
    return [body for body in bodies if body.get("name") in names]


def texts_of(value: object) -> Iterator[str]:
    """Every text in a document, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast("Document", value).values():
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from texts_of(item)


def mapping(value: object) -> Document:
    """The object, or an empty one where there is none."""
    return cast("Document", value) if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """The list, or an empty one where there is none."""
    return cast("list[object]", value) if isinstance(value, list) else []
