"""Who gains or loses what between two catalogs, by asking an engine over each. Cases, and no proof.

Each role, kind and action is decided in representative cases. What is the same text on both sides
is not asked about: it decides the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeAlias, cast

from control_plane.data.collection import Collection
from policies.decision import ActionDecision
from policies.request import ACTIONS_MAX, Attribute
from policies.row_policies import ROW_ACTIONS, ROWS_PREFIX
from server.field_difference import regrouped
from server.policy_cases import Case, callers, cases, described
from server.policy_side import RECORD, Side, record_action, record_facts

ALLOWED, DENIED, APPROVAL = "allowed", "denied", "needs approval"
NO_RULES, NOT_DECLARED, NOT_OFFERED = "allowed (no row rules)", "not declared", "not offered"
NO_POLICY: Final = "no policy"
_WORTH_NOTHING: Final = frozenset({DENIED, NOT_DECLARED, NOT_OFFERED, NO_POLICY})
_VARIED: Final[Mapping[str, tuple[Attribute, ...]]] = {
    "member": (True, False),
    "access_mode": ("full", "read_only", "none"),
    "billing_access": ("full", "read_only", "none"),
    "tenant_state": ("active", "suspended"),
    "cordoned": (False, True),
}
_Verdicts: TypeAlias = Mapping[tuple[int, str], str]


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """What a role gains or loses: in `count` of `total` cases, those that `cases` describes."""

    role: str
    kind: str
    action: str
    was: str
    becomes: str
    cases: str
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class _Question:
    """A kind, or the collection of the kind `record`, with cases and actions to compare."""

    kind: str
    label: str
    collection: str
    cases: Sequence[Case]
    actions: tuple[str, ...]


def compare(before: Side, after: Side) -> tuple[Change, ...]:
    """Every change, in the order of role, kind and action. Raises GateError."""
    found: list[Change] = []
    for question in _questions(before, after):
        if not question.actions:
            continue
        for role in sorted(before.roles | after.roles):
            found += _changes(before, after, question, role)
    for role, field, was, becomes, told in regrouped(before, after):
        found.append(Change(role, field, "read", was, becomes, told, 1, 1))
    return tuple(sorted(found))


def _questions(before: Side, after: Side) -> Iterator[_Question]:
    names = sorted({*before.collections, *after.collections})
    for name in names:
        kind = f"{ROWS_PREFIX}{name}"
        if (
            name in before.collections
            and name in after.collections
            and (before.said(kind) != after.said(kind))
        ):
            actions = before.row_actions(name) | after.row_actions(name)
            yield _question(before, after, kind, actions, name)
        if before.said(RECORD) != after.said(RECORD) or _reach(before, name) != _reach(after, name):
            yield _of_records(before, after, name)
    for kind in sorted({*before.policies, *after.policies}):
        rows_of = kind.removeprefix(ROWS_PREFIX)
        told = kind == RECORD or (rows_of != kind and rows_of in names)
        if not told and before.said(kind) != after.said(kind):
            yield _question(before, after, kind, before.actions(kind) | after.actions(kind))


def _reach(side: Side, name: str) -> object:
    """What of a collection decides who can do what with it as a whole."""
    found = side.collections.get(name)
    if found is None:
        return None
    return [found.reference, sorted(found.offered_verbs), sorted(side.row_actions(name))]


def _question(
    before: Side, after: Side, kind: str, actions: Iterable[str], collection: str = ""
) -> _Question:
    texts = [*before.texts(kind), *after.texts(kind)]
    properties = _both(before.properties(kind), after.properties(kind))
    known = _declared_values(before, after, collection)
    return _Question(
        kind,
        kind,
        collection,
        _with_callers(cases(properties, texts, known), texts),
        _some(actions),
    )


def _of_records(before: Side, after: Side, name: str) -> _Question:
    standing: Collection = {**before.collections, **after.collections}[name]
    texts = [*before.texts(RECORD), *after.texts(RECORD)]
    properties = _both(before.properties(RECORD), after.properties(RECORD))
    usual = record_facts(standing)
    if before.said(RECORD) != after.said(RECORD):
        usual = {one: usual[one] for one in ("exists", "collection", "reference")}
    known: dict[str, Sequence[Attribute]] = {one: (value,) for one, value in usual.items()}
    known.update(_VARIED)
    actions = before.record_actions(name) | after.record_actions(name)
    made = _with_callers(cases(properties, texts, known), texts)
    return _Question(RECORD, f"{RECORD} {name}", name, made, _some(actions))


def _both(
    before: Mapping[str, Mapping[str, object]], after: Mapping[str, Mapping[str, object]]
) -> Mapping[str, Mapping[str, object]]:
    """The attributes of either side; of one that both have, the types that both take."""
    narrowed = {
        name: {**schema, "type": alike}
        for name, schema in after.items()
        if name in before
        and (alike := [one for one in _types(schema) if one in _types(before[name])])
    }
    return {**before, **after, **narrowed}


def _types(schema: Mapping[str, object]) -> list[object]:
    said = schema.get("type")
    return [*cast("list[object]", said)] if isinstance(said, list) else [said]


def _declared_values(before: Side, after: Side, name: str) -> Mapping[str, Sequence[Attribute]]:
    """The values of enumerated fields that either side declares; missing where both let it be."""
    sides = [found for one in (before, after) if (found := one.collections.get(name)) is not None]
    known: dict[str, Sequence[Attribute]] = {}
    for field in {field for one in sides for field in one.fields}:
        declared = [one.fields[field] for one in sides if field in one.fields]
        if all(one.values is not None for one in declared):
            empty = [None] if all(one.nullable for one in declared) else []
            known[field] = [*(value for one in declared for value in one.values or ()), *empty]
    return known


def _with_callers(given: Sequence[Case], texts: Sequence[str]) -> list[Case]:
    return [{**case, **caller} for caller in callers(texts) for case in given]


def _some(actions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(actions))[:ACTIONS_MAX])


def _changes(before: Side, after: Side, asked: _Question, role: str) -> Iterator[Change]:
    was, becomes = (_verdicts(side, asked, role) for side in (before, after))
    moved = [
        (action, was[number, action], becomes[number, action], number)
        for action in asked.actions
        for number in range(len(asked.cases))
        if _moved(was[number, action], becomes[number, action])
    ]
    for (action, old, new), group in groupby(sorted(moved), key=lambda one: one[:3]):
        changed = [asked.cases[number] for *_, number in group]
        cases_of = described(changed, asked.cases)
        if asked.collection and asked.kind != RECORD:
            cases_of += _held_back(after if new == ALLOWED else before, asked, role, action)
        yield Change(role, asked.label, action, old, new, cases_of, len(changed), len(asked.cases))


def _moved(was: str, becomes: str) -> bool:
    if {was, becomes} <= {ALLOWED, NO_RULES}:
        return False
    return was != becomes and not {was, becomes} <= _WORTH_NOTHING


def _verdicts(side: Side, asked: _Question, role: str) -> _Verdicts:
    places = [(number, action) for number in range(len(asked.cases)) for action in asked.actions]
    if asked.kind == RECORD:
        decided = _decided(side, asked, role)
        absent = NOT_OFFERED if asked.collection in side.collections else NOT_DECLARED
        offered = {one for one in asked.actions if side.offers(asked.collection, one)}
        return {place: decided[place] if place[1] in offered else absent for place in places}
    if not asked.collection:
        return (
            _decided(side, asked, role) if _ruled(side, asked) else dict.fromkeys(places, NO_POLICY)
        )
    if _ruled(side, asked):
        decided = _decided(side, asked, role)
    else:
        of_whole = _unruled(side, asked.collection, role)
        decided = {place: of_whole.get(place[1], DENIED) for place in places}
    offered = {one for one in asked.actions if side.offers_row(asked.collection, one)}
    return {place: decided[place] if place[1] in offered else NOT_OFFERED for place in places}


def _ruled(side: Side, asked: _Question) -> bool:
    return asked.kind in side.policies


def _unruled(side: Side, collection: str, role: str) -> Mapping[str, str]:
    """What holds of each row where rows have no policy: what the collection as a whole is decided on."""
    usual = {**record_facts(side.collections[collection]), **callers(())[0]}
    actions = sorted(side.row_actions(collection))
    (decision,) = side.decide(RECORD, role, [usual], [record_action(one) for one in actions])
    return {
        action: NO_RULES if decision.allows(record_action(action)) else DENIED for action in actions
    }


def _decided(side: Side, asked: _Question, role: str) -> _Verdicts:
    return {
        (int(decision.id), action): _verdict(said)
        for decision in side.decide(asked.kind, role, asked.cases, asked.actions)
        for action, said in decision.actions.items()
    }


def _verdict(said: ActionDecision) -> str:
    if said.allowed:
        return ALLOWED
    return APPROVAL if said.needs_approval else DENIED


def _held_back(side: Side, asked: _Question, role: str, action: str) -> str:
    """Where what is decided before any row lets the role do nothing of the kind, that is said."""
    on_whole = _unruled(side, asked.collection, role)
    needed = action if action in ROW_ACTIONS else "read"
    return "" if on_whole[needed] == NO_RULES else "; but the kind record denies it"
