"""Policies about the rows of a collection: what they may say, and what they name. Not their plans.

The kind `rows_<collection>` decides rows. Its rules only allow or deny, for `read`, `create`,
`update`, `delete` and `read_<group>`; its conditions are made of what a filter of rows can say.
What is visible in the text is found here, when the bundle is built; the rest when a plan is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from policies.request import is_name
from policies.sources import (
    Document,
    imports,
    mapping,
    mentioned,
    read_sources,
    sequence,
    texts_of,
)

ROWS_PREFIX: Final = "rows_"
ROW_ACTIONS: Final = frozenset({"read", "create", "update", "delete"})
READ_GROUP_PREFIX: Final = "read_"

_TOKEN = re.compile(
    r"""(?P<string>\w*"(?:\\.|[^"\\])*"|\w*'(?:\\.|[^'\\])*')|(?P<word>\w+)|(?P<sign>[^\s\w])"""
)
_RESOURCE = re.compile(r"\b(?:R|request\s*\.\s*resource)\b(?!\s*\.\s*attr\b)")
_NESTED = re.compile(
    r"\b(?:R|request\s*\.\s*resource)\s*\.\s*attr\s*\.\s*\w+\s*\.\s*\w+\b(?!\s*\()"
)
_SIGNS = {"+": "+", "*": "*", "/": "/", "%": "%", "?": "the conditional ?"}


def named_attributes(
    sources: Path | Sequence[Path] | Mapping[str, Document],
) -> dict[str, frozenset[str]]:
    """For each kind `rows_<collection>`, the resource attributes that its policy uses.

    Imported variables and derived roles count; they are looked for in all of `sources`. Raises
    `BundleError` when a file cannot be read.
    """
    if isinstance(sources, Path):
        sources = [sources]
    documents = sources if isinstance(sources, Mapping) else read_sources(sources)
    bodies = [mapping(document.get("resourcePolicy")) for document in documents.values()]
    return {
        str(body["resource"]): frozenset(mentioned("resource", body, documents) - {""})
        for body in bodies
        if is_row_policy(body)
    }


def is_row_policy(body: Document) -> bool:
    """Tell whether a resource policy decides the rows of a collection."""
    kind = body.get("resource")
    return isinstance(kind, str) and kind.startswith(ROWS_PREFIX)


def row_findings(body: Document, documents: Mapping[str, Document]) -> Iterator[str]:
    """What a policy about rows may not say; nothing for a policy of another kind."""
    if not is_row_policy(body):
        return
    ref = mapping(mapping(body.get("schemas")).get("resourceSchema")).get("ref")
    if ref != f"cerbos:///{body['resource']}.json":
        yield "must use the resource schema of its own name, which is generated"
    for number, rule in enumerate(sequence(body.get("rules")), start=1):
        yield from _rule(mapping(rule), number)
    said = {found for text in _expressions(body, documents) for found in _expression(text)}
    yield from sorted(said)


def _rule(rule: Document, number: int) -> Iterator[str]:
    name = rule.get("name") or f"number {number}"
    if "output" in rule:
        yield f"rule {name}: must put out nothing: a rule about rows only allows or denies"
    if not all(_is_action(action) for action in sequence(rule.get("actions"))):
        allowed = ", ".join(sorted(ROW_ACTIONS))
        yield f"rule {name}: actions must be of {allowed} and read_<group>"


def _is_action(action: object) -> bool:
    if not isinstance(action, str):
        return False
    group = action.removeprefix(READ_GROUP_PREFIX)
    return action in ROW_ACTIONS or (group != action and is_name(group))


def _expressions(body: Document, documents: Mapping[str, Document]) -> Iterator[str]:
    for part in (body, *imports(body, documents)):
        yield from texts_of(mapping(part.get("variables")).get("local"))
        if "rules" not in part:  # definitions of roles have conditions, those of variables are some
            definitions = part.get("definitions")
            conditions = [mapping(one).get("condition") for one in sequence(definitions)]
            yield from texts_of(conditions or definitions)
        for rule in sequence(part.get("rules")):
            yield from texts_of(mapping(rule).get("condition"))


def _expression(text: str) -> Iterator[str]:
    before = ""
    bare: list[str] = []
    for token in _TOKEN.finditer(text):
        kind, said = token.lastgroup, token.group()
        if kind == "string" and said[0] not in "\"'":
            yield "must write texts as plain literals, without a prefix"
        if said == "(" and before.isidentifier() and before != "in":
            yield _call(before)
        if said == "[" and (before in (")", "]") or (before.isidentifier() and before != "in")):
            yield "must use no index: no filter of rows can say it"
        if said in _SIGNS:
            yield f"must not use {_SIGNS[said]}: no filter of rows can say it"
        before = said if kind != "string" else ""
        bare.append(before or '""')
    code = " ".join(bare)
    if _RESOURCE.search(code):
        yield "must use nothing of a row but its attributes"
    if _NESTED.search(code):
        yield "must use no part of an attribute"


def _call(name: str) -> str:
    if name == "now":
        return "must not call now(): a plan and the check of its rows would see two instants"
    return f"must not call {name}(): no filter of rows can say it"
