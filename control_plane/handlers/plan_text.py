"""A run's plan as text for people: what cannot be undone first, then by address. Not the plan, and it decides nothing."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from control_plane.domain.canonical import Json

LINES_MAX: Final = 500
_VALUE_CHARS_MAX: Final = 200
_NAME_CHARS_MAX: Final = 256
_DEPTH_MAX: Final = 16
_SENSITIVE: Final = "(sensitive)"
_UNKNOWN: Final = "(known after apply)"
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})

Tree: TypeAlias = Mapping[str, Json]
Kind: TypeAlias = Literal["create", "update", "replace", "delete", "forget", "other"]

_SIGNS: Final[Mapping[Kind, str]] = {
    "create": "+ create",
    "update": "~ update",
    "replace": "-/+ replace",
    "delete": "- destroy",
    "forget": "- forget",
    "other": "= keep",
}

# Parts of which each member is told as it stands, in this order.
_SECTIONS: Final[Mapping[str, str]] = {
    "data": "Data",
    "migrate": "Migrations of one tenant",
    "fleet": "Migrations of every tenant",
    "clone": "Copy",
    "backup": "Backup",
    "retention": "Retention",
    "money": "Money",
}

_SINGLE: Final[tuple[Kind, ...]] = ("create", "update", "delete", "forget")


class PlanText(NamedTuple):
    """The lines, at most 500, and how many more there are."""

    lines: tuple[str, ...]
    left_out: int


def plan_text(parts: Tree) -> PlanText:
    """The parts of a run's plan as lines: stack, outputs, data, money, cost; the same for the same parts.

    What is kept as an HMAC is shown as sensitive. No line holds a control or bidi character.
    """
    infrastructure = _tree(parts.get("infrastructure"))
    changes = _tree(infrastructure.get("changes"))
    found = _tree(infrastructure.get("found"))
    lines = [*_resources(changes, found), *_outputs(changes), *_sections(parts), *_cost(found)]
    shown = tuple(lines[:LINES_MAX])
    return PlanText(
        shown or ("Nothing outside of our own store changes.",), len(lines) - len(shown)
    )


# Resources -----------------------------------------------------------------------------------


def _resources(changes: Tree, found: Tree) -> Iterator[str]:
    stateful = {str(one) for one in _list(found.get("stateful_deletes"))}
    listed = [_tree(one) for one in _list(changes.get("resource_changes"))]
    # By deposed object too: an address may stand twice.
    listed.sort(key=lambda one: (str(one.get("address")), str(one.get("deposed", ""))))
    final = [one for one in listed if _is_final(one, stateful)]
    if final:
        yield "Cannot be undone: what holds data goes"
        for one in final:
            yield from _resource(one)
    others = [one for one in listed if not _is_final(one, stateful)]
    if others:
        yield "Resources"
        for one in others:
            yield from _resource(one)


def _is_final(resource: Tree, stateful: set[str]) -> bool:
    gone = _kind(_tree(resource.get("change"))) in ("delete", "replace", "forget")
    return gone and str(resource.get("address")) in stateful


def _resource(resource: Tree) -> Iterator[str]:
    change = _tree(resource.get("change"))
    kind = _kind(change)
    because = _because(change) if kind == "replace" else ""
    adopted = " (adopted)" if change.get("importing") else ""
    deposed = " (its former self)" if resource.get("deposed") else ""
    yield f"  {_SIGNS[kind]} {_name(resource.get('address'))}{because}{adopted}{deposed}"
    if resource.get("previous_address"):
        yield f"      moved from {_name(resource.get('previous_address'))}"
    if kind not in ("delete", "forget"):
        yield from _attributes(change, created=kind == "create")


def _kind(change: Tree) -> Kind:
    actions = [str(one) for one in _list(change.get("actions"))]
    if "create" in actions and "delete" in actions:
        return "replace"
    for kind in _SINGLE:
        if kind in actions:
            return kind
    return "other"


def _because(change: Tree) -> str:
    paths = {
        ".".join(str(step) for step in _list(one)) for one in _list(change.get("replace_paths"))
    }
    return f" (because of {_names_of(paths)})" if paths else ""


def _attributes(change: Tree, *, created: bool) -> Iterator[str]:
    before, after = change.get("before"), change.get("after")
    unknown = change.get("after_unknown")
    if _is_hidden(before) or _is_hidden(after):
        yield f"      {_SENSITIVE}"
        return
    for name in sorted(_names(before, after, unknown)):
        was, will = _member(before, name), _member(after, name)
        hidden = _member(unknown, name)
        if was == will and not _any(hidden):
            continue
        told = _value(will, hidden)
        line = told if created else f"{_value(was)} → {told}"
        yield f"      {_name(name)} = {line}"


def _names(*trees: Json) -> set[str]:
    return {str(name) for one in trees for name in _tree(one)}


def _member(tree: Json, name: str) -> Json:
    return True if tree is True else _tree(tree).get(name)


# Outputs, data, money, cost ------------------------------------------------------------------


def _outputs(changes: Tree) -> Iterator[str]:
    outputs = _tree(changes.get("output_changes"))
    if outputs:
        yield "Outputs"
    for name in sorted(outputs):
        change = _tree(outputs[name])
        will = _value(change.get("after"), change.get("after_unknown"))
        yield f"  {_name(name)}: {_value(change.get('before'))} → {will}"


def _sections(parts: Tree) -> Iterator[str]:
    for part, heading in _SECTIONS.items():
        found = _tree(parts.get(part))
        if found:
            yield heading
        for name in sorted(found):
            members = [one for one in _list(found[name]) if isinstance(one, Mapping)]
            if not members:
                yield f"  {_name(name)} = {_value(found[name])}"
            for one in members:
                yield f"  {_name(name)}: {_value(one)}"


def _cost(found: Tree) -> Iterator[str]:
    minor = found.get("monthly_cost_minor")
    if minor is None:
        return
    version = _name(found.get("price_version") or "unknown")
    yield f"Cost: {_value(minor)} cents (USD) a month for all that stands then, by the prices of {version}"
    unpriced = {str(one) for one in _list(found.get("unpriced"))}
    if unpriced:
        yield f"  without a price: {_names_of(unpriced)}"


# Values --------------------------------------------------------------------------------------


def _value(value: Json, unknown: Json = None) -> str:
    return _cut(escaped(_said(value, unknown, 0)), _VALUE_CHARS_MAX)


def _said(value: Json, unknown: Json, depth: int) -> str:
    if unknown is True:
        return _UNKNOWN
    if _is_hidden(value):
        return _SENSITIVE
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        names = sorted({*value, *(name for name, mark in _tree(unknown).items() if _any(mark))})
        inner = (
            f"{_quoted(name)}: {_said(value.get(name), _member(unknown, name), depth + 1)}"
            for name in names
        )
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Sequence):
        marks = _list(unknown)
        told = [
            _said(one, marks[place] if place < len(marks) else None, depth + 1)
            for place, one in enumerate(value)
        ]
        return "[" + ", ".join(told) + "]"
    # What is known only in part is told in the shape that is known to come.
    if value is None and _any(unknown):
        return _UNKNOWN
    return json.dumps(value)


def _is_hidden(value: Json) -> bool:
    """Whether it stands for what Terraform calls sensitive: see projection.py."""
    return isinstance(value, Mapping) and tuple(value) == ("hmac",)


def _any(mark: Json) -> bool:
    """Whether Terraform's tree of marks marks anything."""
    pending: list[Json] = [mark]
    while pending:
        one = pending.pop()
        if one is True:
            return True
        if isinstance(one, Mapping):
            pending.extend(one.values())
        elif isinstance(one, Sequence) and not isinstance(one, str):
            pending.extend(one)
    return False


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    """Text in which nothing moves a cursor, turns the reading direction or hides."""
    return "".join(
        f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _HIDDEN else char for char in text
    )


def _name(value: Json) -> str:
    return _cut(escaped(str(value)), _NAME_CHARS_MAX)


def _names_of(names: Iterable[str]) -> str:
    return _cut(escaped(", ".join(sorted(names))), _NAME_CHARS_MAX)


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[:chars_max] + "…"


def _tree(value: Json) -> Tree:
    # What stands for something sensitive has no members to look at.
    return value if isinstance(value, Mapping) and not _is_hidden(value) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
