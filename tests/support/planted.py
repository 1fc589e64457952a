"""Mistakes put into a copy of a module, one each, found by what its schema declares. Not what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.support.simulated.schema import ProviderSchema

_RESOURCE: Final = re.compile(
    r'^resource "(?P<type>\w+)" "(?P<name>\w+)" \{\n(?P<body>.*?)^\}\n', re.MULTILINE | re.DOTALL
)
_ARGUMENT: Final = re.compile(r"^  (?P<name>\w+) += .*[^{(\[]\n", re.MULTILINE)


class Planted(NamedTuple):
    """One file's text before and after, and words that whoever finds it will say."""

    file: str
    before: str
    after: str
    words: str


class Made(NamedTuple):
    """One resource of a module, as its text stands in a file."""

    file: str
    text: str
    type: str
    match: re.Match[str]
    declared: dict[str, Any]

    def with_body(self, old: str, new: str, words: str) -> Planted:
        """The file with a part of this resource replaced once."""
        start, end = self.match.span("body")
        body = self.match["body"].replace(old, new, 1)
        return Planted(self.file, self.text, self.text[:start] + body + self.text[end:], words)

    def arguments(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(line, name, how it is declared) of each argument that takes one line."""
        for one in _ARGUMENT.finditer(self.match["body"]):
            if one["name"] in self.declared["attributes"]:
                yield one[0], one["name"], self.declared["attributes"][one["name"]]


def made(folder: Path, schema: ProviderSchema) -> Iterator[Made]:
    """Every resource of the module."""
    for path in sorted(folder.glob("*.tf")):
        text = path.read_text(encoding="utf-8")
        for match in _RESOURCE.finditer(text):
            kind = match["type"]
            yield Made(path.name, text, kind, match, schema.resources[kind])


def _missing_argument(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    for one in made(folder, schema):
        for line, name, declared in one.arguments():
            if declared.get("required"):
                yield one.with_body(line, "", f'The argument "{name}" is required')


def _unsupported_argument(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    for one in made(folder, schema):
        for line, name, declared in one.arguments():
            if declared.get("optional"):
                planted = line.replace(name, f"{name}_planted", 1)
                yield one.with_body(line, planted, f'An argument named "{name}_planted"')


def _wrong_type(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    for one in made(folder, schema):
        for line, name, declared in one.arguments():
            kind = declared["type"]
            if (
                isinstance(kind, list)
                and kind[0] in {"list", "set", "map"}
                and declared.get("type")
            ):
                yield one.with_body(line, f"  {name} = true\n", f'attribute "{name}": {kind[0]} of')


def _missing_block(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    for one in made(folder, schema):
        for name, declared in one.declared.get("block_types", {}).items():
            block = re.search(
                rf"^  {name} \{{\n.*?^  \}}\n", one.match["body"], re.MULTILINE | re.DOTALL
            )
            if declared.get("min_items") and block:
                yield one.with_body(block[0], "", f'At least 1 "{name}" blocks are required')


def _unknown_attribute(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    text = (folder / "outputs.tf").read_text(encoding="utf-8")
    for found in re.finditer(r" (\w+)\.\w+\.(\w+)$", text, re.MULTILINE):
        if found[1] in schema.resources:
            after = f"{text[: found.end()]}_planted{text[found.end() :]}"
            yield Planted("outputs.tf", text, after, f'attribute named "{found[2]}_planted"')


def _unknown_type(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    whole = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.tf"))
    for one in made(folder, schema):
        if f"{one.type}.{one.match['name']}" not in whole:
            start, end = one.match.span("type")
            after = f"{one.text[:start]}{one.type}_planted{one.text[end:]}"
            words = f'does not support resource type "{one.type}_planted"'
            yield Planted(one.file, one.text, after, words)


def _undeclared(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    for one in made(folder, schema):
        if "= var.labels\n" in one.match["body"]:
            yield one.with_body("= var.labels\n", "= var.label\n", '"label" has not been declared')


def _kept_secret(folder: Path, schema: ProviderSchema) -> Iterator[Planted]:
    for one in made(folder, schema):
        for line, name, declared in one.arguments():
            plain = name.removesuffix("_wo")
            if declared.get("write_only") and plain in one.declared["attributes"]:
                words = f'not valid for "{plain}", because it is not a write-only attribute'
                yield one.with_body(line, line.replace(name, plain, 1), words)


# By the heading under which Terraform tells of them.
MISTAKES: Final[Mapping[str, Callable[[Path, ProviderSchema], Iterator[Planted]]]] = {
    "Missing required argument": _missing_argument,
    "Unsupported argument": _unsupported_argument,
    "Incorrect attribute value type": _wrong_type,
    "Insufficient blocks": _missing_block,
    "Unsupported attribute": _unknown_attribute,
    "Invalid resource type": _unknown_type,
    "Reference to undeclared input variable": _undeclared,
    "Invalid use of ephemeral value": _kept_secret,
}


def plant(mistake: str, folder: Path, schema: ProviderSchema) -> Planted | None:
    """The first place of the module that can hold the mistake, or none."""
    return next(MISTAKES[mistake](folder, schema), None)
