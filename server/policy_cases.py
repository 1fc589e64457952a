"""Representative facts of a kind of resource: values at which its policy may turn. Not facts of anything real.

Every combination of the values, where there are few; else one usual case, each value in its place,
and an even choice of the rest. What is bounded is said nowhere to be a proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Final, TypeAlias, TypeVar

from policies.request import Attribute
from policies.sources import sequence

Case: TypeAlias = Mapping[str, Attribute]
_Any = TypeVar("_Any")

CASES_MAX: Final = 128
PRINCIPAL: Final = "the caller"
AGENT: Final = "the agent"
_LITERALS_MAX: Final = 6
_SHOWN_MAX: Final = 4
_CALLERS_MAX: Final = 8
# No attribute is called so: a field of a collection may have any name that is a word.
ID, ACTOR_KIND, ACTOR = "caller's name", "caller's kind", "caller's actor"
_FIRST: Final = ("exists", "member", ID, ACTOR_KIND, ACTOR)
_STRING = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'((?:\\.|[^'\\])*)'")
_NUMBER = re.compile(r"(?<![\w.\"'])-?\d+(?:\.\d+)?(?![\w\"'])")
_OTHER: Final = "another"
# Texts below and above any that a rule may compare with.
_BELOW, _ABOVE = "", "~"
_USUAL: Final[Mapping[str, Attribute]] = {
    "exists": True,
    "member": True,
    "access_mode": "full",
    "billing_level": "clear",
    "billing_access": "full",
    "tenant_state": "active",
    "state": "active",
}


def cases(
    properties: Mapping[str, Mapping[str, object]],
    texts: Sequence[str],
    known: Mapping[str, Sequence[Attribute]],
) -> list[Case]:
    """Cases over the attributes of a schema, at most `CASES_MAX`, the usual one first.

    `texts` are the conditions, whose literals become values; `known` are the values of attributes
    that are better known than by their type.
    """
    values = {
        name: _distinct(known.get(name) or _values(name, schema, texts))
        for name, schema in sorted(properties.items())
    }
    usual = {name: _usual(name, some) for name, some in values.items()}
    total = prod(len(some) for some in values.values())
    chosen: list[Case] = [usual]
    if total > CASES_MAX:
        chosen += [{**usual, name: value} for name, some in values.items() for value in some]
    step = max(1, -(-total // CASES_MAX))
    chosen += [_numbered(values, number) for number in range(0, total, step)]
    return _distinct(chosen)[:CASES_MAX]


def callers(texts: Sequence[str]) -> list[Case]:
    """A human and an agent, and those whose name or actor the conditions name; at most 8."""
    human: Case = {ID: PRINCIPAL, ACTOR_KIND: "human", ACTOR: ""}
    agent: Case = {ID: PRINCIPAL, ACTOR_KIND: "agent", ACTOR: AGENT}
    named: list[Case] = [{**human, ID: name} for name in _compared(texts, r"id")]
    acting: list[Case] = [{**agent, ACTOR: name} for name in _compared(texts, r"attr\s*\.\s*actor")]
    return _distinct([human, agent, *acting, *named])[:_CALLERS_MAX]


def _compared(texts: Sequence[str], part: str) -> list[str]:
    """The texts in conditions that name a part of the principal."""
    wanted = re.compile(rf"\b(?:P|principal)\s*\.\s*{part}\b")
    found = [
        one or other
        for text in texts
        if wanted.search(text)
        for one, other in _STRING.findall(text)
    ]
    return [one for one in dict.fromkeys(found) if one]


def described(changed: Sequence[Case], every: Sequence[Case]) -> str:
    """What the changed cases have in common that not every case has, or what the others have."""
    if len(changed) == len(every):
        return "always"
    words, whole = _narrowed(changed, every)
    if whole:
        return words
    others, whole = _narrowed([one for one in every if one not in changed], every)
    if whole:
        return f"unless {others}"
    return f"{words}: in some cases" if words else "in some cases"


def _narrowed(chosen: Sequence[Case], every: Sequence[Case]) -> tuple[str, bool]:
    """The attributes that tell chosen cases from others, in words; and whether they tell all of them."""
    narrowed = {
        name: values
        for name in sorted(every[0], key=lambda name: (name not in _FIRST, name))
        if len(values := _distinct(one[name] for one in chosen))
        < len(_distinct(one[name] for one in every))
    }
    alike = [one for one in every if all(one[name] in some for name, some in narrowed.items())]
    words = ", ".join(_phrase(name, some) for name, some in narrowed.items())
    return words, len(alike) == len(chosen)


def _phrase(name: str, values: Sequence[Attribute]) -> str:
    told = name.replace("_", " ")
    if list(values) == [True]:
        return told
    if list(values) == [False]:
        return f"not {told}"
    shown = ["missing" if one is None else str(one) or '""' for one in values[:_SHOWN_MAX]]
    more = " or others" if len(values) > _SHOWN_MAX else ""
    return f"{told} {' or '.join(shown)}{more}"


def fitting(value: Attribute, schema: Mapping[str, object]) -> Attribute:
    """The value, or where the schema does not take its type, one that it takes.

    Between two sides that give an attribute different types no value is the same fact.
    """
    types = _types(schema)
    if types == {"None"} or _type_of(value) in types:
        return value
    if _type_of(value) == "integer" and "number" in types:
        return value
    return _values("", schema, ())[-1]


def _types(schema: Mapping[str, object]) -> set[str]:
    said = schema.get("type")
    return {str(one) for one in sequence(said)} or {str(said)}


def _type_of(value: Attribute) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _numbered(values: Mapping[str, Sequence[Attribute]], number: int) -> Case:
    case: dict[str, Attribute] = {}
    for name, some in values.items():
        number, place = divmod(number, len(some))
        case[name] = some[place]
    return case


def _usual(name: str, values: Sequence[Attribute]) -> Attribute:
    wanted = _USUAL.get(name, False)
    return next((one for one in values if _same(one, wanted)), values[0])


def _values(name: str, schema: Mapping[str, object], texts: Sequence[str]) -> list[Attribute]:
    if "enum" in schema:
        return [str(one) for one in sequence(schema["enum"])]
    types = _types(schema)
    found: list[Attribute] = [None] if "null" in types else []
    near = [text for text in texts if re.search(rf"\battr\s*\.\s*{re.escape(name)}\b", text)]
    if "boolean" in types:
        found += [False, True]
    elif types & {"integer", "number"}:
        found += _numbers(near)
    elif "array" in types:
        found += [(), *((text,) for text in _texts(near))]
    elif "object" in types:
        found.append({})
    else:
        found += [*_texts(near), _OTHER]
    return found


def _numbers(texts: Iterable[str]) -> list[Attribute]:
    found = [round(float(one)) for text in texts for one in _NUMBER.findall(_STRING.sub("", text))]
    around = [number + by for number in found[:_LITERALS_MAX] for by in (-1, 0, 1)]
    return [0, *around]


def _texts(texts: Sequence[str]) -> list[Attribute]:
    literals = [one or other for text in texts for one, other in _STRING.findall(text)]
    found: list[Attribute] = [*dict.fromkeys(literals[:_LITERALS_MAX])]
    whole = " ".join(texts)
    if re.search(r"\b(?:P|principal)\s*\.\s*id\b", whole):
        found.append(PRINCIPAL)
    if re.search(r"\b(?:P|principal)\s*\.\s*attr\s*\.\s*actor\b", whole):
        found.append(AGENT)
    return [*found, _BELOW, _ABOVE] if re.search(r"[<>]", whole) else found


def _distinct(values: Iterable[_Any]) -> list[_Any]:
    found: list[_Any] = []
    for one in values:
        if not any(_same(one, other) for other in found):
            found.append(one)
    return found


def _same(one: object, other: object) -> bool:
    # True equals 1 in Python, and is another fact.
    return type(one) is type(other) and one == other
