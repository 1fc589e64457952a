"""Strict YAML text to plain values: no surprise types, tags or aliases. Not a schema check.

Only null, true, false, decimal integers and text are recognised: `no` is text, and so is `1.5`, and
`010` is not eight. A file that a catalog is read from must mean what it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from control_plane.domain.canonical import Json
from control_plane.errors import BadInput

Path: TypeAlias = tuple[str | int, ...]

TEXT_CHARS_MAX = 262_144
DEPTH_MAX = 16


class _StrictLoader(yaml.SafeLoader):
    # Our own table, and not a copy: SafeLoader's would bring timestamps, floats and octal numbers.
    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class reads it as a class attribute


if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    # libyaml's is ten times as fast; a build of PyYAML may lack it.
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _FastLoader(SafeLoader):
    yaml_implicit_resolvers = _StrictLoader.yaml_implicit_resolvers


def _recognise(kind: str, pattern: str) -> None:
    _StrictLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType] - its stub is loose
        f"tag:yaml.org,2002:{kind}", re.compile(pattern), None
    )


_recognise("null", r"^(null|)$")
_recognise("bool", r"^(true|false)$")
_recognise("int", r"^(0|-?[1-9][0-9]{0,17})$")


@dataclass(frozen=True, slots=True)
class Document:
    """JSON values, and the line (from 1) on which each begins, by its path of keys and indexes.

    What a key holds begins with the key.
    """

    value: Json
    lines: Mapping[Path, int]


def parse_yaml(text: str, file_name: str) -> Json:
    """The one document in `text`, as JSON values; BadInput as `parse_document`."""
    return parse_document(text, file_name).value


def parse_document(text: str, file_name: str) -> Document:
    """The one document in `text`, with the line of every part.

    BadInput names the file, the place and the rule: too long, too deep, not YAML, an alias, a tag,
    half a surrogate pair, a key that is no text or stands twice.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise BadInput(file_name, f"must have at most {TEXT_CHARS_MAX} characters")
    try:
        node = _composed(text, file_name, _FastLoader)
    except yaml.YAMLError:
        node = _told(text, file_name)
    reader = _Reader(file_name)
    return Document(reader.value(node, ()), reader.lines)


def _told(text: str, file_name: str) -> Node | None:
    # Where a mistake is said to be does not depend on how PyYAML was built.
    try:
        return _composed(text, file_name, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise BadInput(_place(file_name, error.problem_mark), "must be valid YAML") from None
    except yaml.YAMLError:
        raise BadInput(file_name, "must be valid YAML") from None


def _composed(text: str, file_name: str, loader: type[yaml.SafeLoader]) -> Node | None:
    _check_events(text, file_name, loader)
    reader = loader(text)
    try:
        return reader.get_single_node()
    finally:
        reader.dispose()


def _check_events(text: str, file_name: str, loader: type[yaml.SafeLoader]) -> None:
    # Before any node is built, so that neither depth nor aliases can cost anything.
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise BadInput(_place(file_name, event.start_mark), "aliases are not allowed")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            raise BadInput(_place(file_name, event.start_mark), "tags are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise BadInput(_place(file_name, event.start_mark), f"at most {DEPTH_MAX} levels deep")


class _Reader:
    """Turns the nodes of one file into values, and keeps where each stands."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name
        self.lines: dict[Path, int] = {}

    def value(self, node: Node | None, path: Path) -> Json:
        """The value of a node, which stands at the path."""
        if node is None:
            return None
        self.lines.setdefault(path, _line(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        kind = node.tag.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return bool(node.value == "true")
        return int(node.value) if kind == "int" else self._text(node)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Json]:
        result: dict[str, Json] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode) or not key.tag.endswith(":str"):
                raise BadInput(_place(self._file_name, key.start_mark), "a key must be text")
            name = self._text(key)
            if name in result:
                raise BadInput(_place(self._file_name, key.start_mark), "a key stands only once")
            self.lines[(*path, name)] = _line(key)
            result[name] = self.value(item, (*path, name))
        return result

    def _text(self, node: Node) -> str:
        text = str(node.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            # An escaped half of a pair has no UTF-8 form, and so no digest.
            raise BadInput(_place(self._file_name, node.start_mark), "text must be valid Unicode")
        return text


def _line(node: Node) -> int:
    return int(getattr(node.start_mark, "line", 0)) + 1


def _place(file_name: str, mark: object) -> str:
    line, column = getattr(mark, "line", None), getattr(mark, "column", None)
    if line is None or column is None:
        return file_name
    return f"{file_name}, line {line + 1}, column {column + 1}"
