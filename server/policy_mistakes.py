"""Mistakes of a catalog's policies, every one that can be found without an engine that answers. Not a decision.

What the house's rules find comes first, then what a policy names of the collections, then what the
engine's own compiler finds. A file that is wrong is left out of the next look, so that it hides
nothing of another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_plane.data.collection import Collection
from control_plane.domain.near_names import did_you_mean
from control_plane.facts.row import DECIDABLE_KINDS, row_schema
from control_plane.handlers.record_sight import group_actions
from policies import places
from policies.compiler import compile_folder
from policies.errors import BundleError, GateError
from policies.lint import lint
from policies.row_policies import READ_GROUP_PREFIX, ROW_ACTIONS, ROWS_PREFIX, named_attributes
from policies.sources import Document, mapping, parse, read_sources, sequence
from server.catalog import policy_sources
from server.catalog_mistakes import Mistake

POLICIES: Final = "policies/"
_ROUNDS_MAX: Final = 6
_LEFT_OUT: Final = "_test.yaml"
_NO_POLICY: Final = ("must hold", "its kind has")
_UNKNOWN: Final = re.compile(r"^(resource|principal) attribute (\w+) is not in")
_ANYTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Policies:
    """The files without a mistake, by name; the fields that rows are decided by; every mistake.

    `named` holds collections whose rows have a policy without a mistake.
    """

    files: Mapping[str, bytes]
    named: Mapping[str, frozenset[str]]
    mistakes: tuple[Mistake, ...]


def check_policies(
    files: Mapping[str, bytes],
    collections: Mapping[str, Collection],
    program: Callable[[], Path],
    scratch: Path,
) -> Policies:
    """Look at the files of a catalog below `policies/`; `scratch` is an empty folder to work in.

    `collections` are those without a mistake; of others no field is asked for. Raises nothing for
    a policy that is wrong; OSError where the folder cannot be written.
    """
    own = {
        name.removeprefix(POLICIES): content
        for name, content in files.items()
        if name.startswith(POLICIES) and not name.endswith(_LEFT_OUT)
    }
    looked = _Look(own, collections, {_collection(name) for name in files} - {""})
    mistakes = looked.mistakes()
    wrong = {one.file.removeprefix(POLICIES) for one in mistakes if not looked.compiles_yet(one)}
    try:
        found, failing = _compiled(looked, own.keys() - wrong, program(), scratch)
    except GateError as error:
        found, failing = [Mistake(POLICIES, 0, "", f"cannot be compiled: {error}")], set(own)
    mistakes += found
    left = own.keys() - failing - {one.file.removeprefix(POLICIES) for one in mistakes}
    kinds = {
        str(mapping(looked.documents[name].get("resourcePolicy")).get("resource")) for name in left
    }
    named = {
        kind.removeprefix(ROWS_PREFIX): fields
        for kind, fields in looked.named.items()
        if kind in kinds and kind.removeprefix(ROWS_PREFIX) in collections
    }
    return Policies({name: own[name] for name in left}, named, tuple(sorted(set(mistakes))))


def _collection(name: str) -> str:
    folder, _, file = name.partition("/")
    return file.removesuffix(".yaml") if folder == "collections" else ""


class _Look:
    """One look at policies as documents, ours and the catalog's."""

    def __init__(
        self,
        own: Mapping[str, bytes],
        collections: Mapping[str, Collection],
        declared: set[str],
    ) -> None:
        self._texts = {name: content.decode(errors="replace") for name, content in own.items()}
        self._collections = collections
        self._declared = declared
        self._unread: list[Mistake] = []
        self._shipped = read_sources(policy_sources(None))
        self.documents = dict(self._shipped)
        for name, content in own.items():
            self._read(name, content)
        self.named = named_attributes(self.documents)
        self.schemas = {
            f"_schemas/{kind}.json": self._schema(kind, names) for kind, names in self.named.items()
        }

    def mistakes(self) -> list[Mistake]:
        """What does not read, what breaks the house's rules, and what is not declared."""
        found = list(self._unread)
        for finding in lint({**self.documents, **self.schemas}):
            name, _, rule = finding.partition(": ")
            if self._is_own(name):
                line = places.line_of(self._texts[name], rule)
                found.append(Mistake(f"{POLICIES}{name}", line, "", rule + self._near(name, rule)))
        for name in filter(self._is_own, self.documents):
            body = mapping(self.documents[name].get("resourcePolicy"))
            kind = str(body.get("resource"))
            if kind in self.named:
                found += self._undeclared(name, kind, body)
        return found

    def compiles_yet(self, mistake: Mistake) -> bool:
        """Whether the compiler can still look at the file: what it reads as a policy is one."""
        name = mistake.file.removeprefix(POLICIES)
        return self._is_own(name) and not mistake.rule.startswith(_NO_POLICY)

    def write(self, names: Iterable[str], folder: Path) -> None:
        """Our policies, the named ones as they were written, and every schema."""
        for path, document in {**self._shipped, **self.schemas}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(json.dumps(document))
        for name in names:
            (folder / name).write_text(self._texts[name])

    def _is_own(self, name: str) -> bool:
        return name in self._texts and name in self.documents and name not in self._shipped

    def _near(self, name: str, rule: str) -> str:
        """The attribute of the policy's schema that an unknown one probably is."""
        said = _UNKNOWN.match(rule)
        if said is None:
            return ""
        body = mapping(self.documents[name].get("resourcePolicy"))
        ref = str(mapping(mapping(body.get("schemas")).get(f"{said[1]}Schema")).get("ref"))
        schema = {**self.documents, **self.schemas}.get(f"_schemas/{ref.rpartition('/')[2]}", {})
        return did_you_mean(said[2], mapping(schema.get("properties")))

    def _read(self, name: str, content: bytes) -> None:
        path = f"{POLICIES}{name}"
        if name in self._shipped:
            self._unread.append(Mistake(path, 1, "", "must have another name: we ship such a file"))
            return
        try:
            self.documents[name] = parse(name, content)
        except BundleError as error:
            rule = str(error).removeprefix(f"{name}: ")
            self._unread.append(Mistake(path, places.parse_line(self._texts[name]), "", rule))

    def _schema(self, kind: str, names: frozenset[str]) -> Document:
        """The schema as it will be generated; what is not declared may be anything in it."""
        found = self._collections.get(kind.removeprefix(ROWS_PREFIX))
        known = names if found is None else {name for name in names if _decidable(found, name)}
        made: dict[str, Any] = (
            {"type": "object", "additionalProperties": False, "properties": {}}
            if found is None
            else row_schema(found, known)
        )
        anything = {name: _ANYTHING for name in names if found is None or name not in known}
        properties = {**made["properties"], **anything}
        return {**made, "properties": properties, "required": sorted(properties)}

    def _undeclared(self, name: str, kind: str, body: Document) -> Iterator[Mistake]:
        text, collection = self._texts[name], kind.removeprefix(ROWS_PREFIX)
        file = f"{POLICIES}{name}"
        if collection not in self._declared:
            line = places.word_line(text, rf"resource\s*:.*{kind}")
            rule = (
                f"must name a collection that is declared{did_you_mean(collection, self._declared)}"
            )
            yield Mistake(file, line, kind, rule)
        found = self._collections.get(collection)
        if found is None:
            return
        for field in sorted(self.named[kind]):
            if not _decidable(found, field):
                line = places.word_line(text, rf"\battr\s*\.\s*{field}\b")
                yield Mistake(file, line, f"{kind}: {field}", _field_rule(found, field))
        groups = set(group_actions(found))
        for action in sorted(_actions(body) - ROW_ACTIONS - groups):
            if action.startswith(READ_GROUP_PREFIX):
                rule = f"must name a group that a field has{did_you_mean(action, groups)}"
                yield Mistake(file, places.action_line(text, action), f"{kind}: {action}", rule)


def _actions(body: Document) -> set[str]:
    rules = [mapping(rule) for rule in sequence(body.get("rules"))]
    return {str(action) for rule in rules for action in sequence(rule.get("actions"))}


def _decidable(collection: Collection, name: str) -> bool:
    field = collection.fields.get(name)
    return field is not None and field.kind in DECIDABLE_KINDS


def _field_rule(collection: Collection, name: str) -> str:
    field = collection.fields.get(name)
    if field is None:
        return f"must be a declared field{did_you_mean(name, collection.fields)}"
    return f"no policy decides on kind {field.kind}: only on {', '.join(sorted(DECIDABLE_KINDS))}"


def _compiled(
    looked: _Look, names: Iterable[str], program: Path, scratch: Path
) -> tuple[list[Mistake], set[str]]:
    """What the compiler finds, and the files that it found it in."""
    left, failing = set(names), set[str]()
    found: list[Mistake] = []
    for turn in range(_ROUNDS_MAX):
        folder = scratch / f"sources-{turn}"
        folder.mkdir()
        looked.write(left, folder)
        misfits = compile_folder(program, folder)
        found += [Mistake(f"{POLICIES}{one.file}", one.line, one.part, one.rule) for one in misfits]
        again = {one.file for one in misfits} & left
        failing |= again
        left -= again
        if not again:
            break
    return found, failing
