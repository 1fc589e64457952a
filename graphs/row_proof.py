"""The proof that a rows' policy selects by its filter exactly what it allows. No proof for rows that it was not shown.

Where the engine's plan and its check part, a page is filled up and a row is left out; a sum would be
wrong, and so would a change of many rows at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection as AnyCollection
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, cast

from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine, insert, select

from control_plane.data.collection import Collection
from control_plane.data.filters import Tree, compile_filter, parse_rule
from control_plane.data.rows import Row
from control_plane.data.table_types import column_type
from control_plane.domain.caller import ROLES, Caller, Role
from control_plane.domain.canonical import Json
from control_plane.errors import Refused
from control_plane.facts.row import wanted_form
from control_plane.handlers.record_sight import group_actions, image_of
from control_plane.ports import Restriction
from graphs.gatekeeper import Gatekeeper, unwitnessed
from graphs.proof_rows import ROWS_MAX, generated_rows
from graphs.rows import KeptRows, kind_of
from policies.errors import Untranslatable

Side: TypeAlias = Literal["plan", "rule", "untranslatable"]

DIFFERENCES_MAX: Final = 50
_ROWS_PER_QUESTION: Final = 100
_BASE_ACTIONS: Final = ("read", "update", "delete")
_CREATE: Final = ("create",)
_KINDS: Final[tuple[Literal["human", "agent"], ...]] = ("human", "agent")


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """Where plan and rule part: which of them alone lets a row in, or that no filter says the rule.

    `null_fields` are the fields that have no value in such a row; no value stands here.
    """

    rule: str
    action: str
    roles: tuple[str, ...]
    side: Side
    null_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Misspelt:
    """A text of the policy in another form than the values of the field that it is compared with.

    `rule` is one that says so; `literal` is the policy's own, and `wanted` the form it must have.
    """

    field: str
    literal: str
    wanted: str
    rule: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found: `exact` when there is nothing; at most `DIFFERENCES_MAX` of each are told.

    Where a plan has a text that is `misspelt`, its rows are not compared: that they part follows.
    """

    collection: str
    exact: bool
    differences: tuple[Difference, ...]
    misspelt: tuple[Misspelt, ...] = ()


class _Plan(NamedTuple):
    """Which rows a plan selects: none of them, or those of the tree; every one without a tree."""

    none: bool
    tree: Tree | None


_Actions: TypeAlias = tuple[str, ...]
_Plans: TypeAlias = Mapping[_Actions, _Plan | None]
_Left: TypeAlias = Mapping[_Actions, Restriction | None]


def asked_actions(collection: Collection) -> tuple[_Actions, ...]:
    """Every combination of actions that rows are planned by: each alone first, then together."""
    groups = group_actions(collection)
    alone = [(action,) for action in (*_BASE_ACTIONS, *groups)]
    together = [("read", action) for action in (*_BASE_ACTIONS[1:], *groups)]
    every = [("read", *groups)] if len(groups) > 1 else []
    return (*alone, *together, *every)


def proof_callers(
    roles: Iterable[Role] = ROLES, principals: Sequence[str] = ("alice", "bob")
) -> tuple[Caller, ...]:
    """A human and an agent with no role, with each role alone, and with all of them.

    More sets of roles tell no more: the engine decides by each role for itself. The first of
    `principals` is the human, the second the agent's: both become values of rows.
    """
    known: list[Role] = sorted(set(roles))
    sets: list[tuple[Role, ...]] = [(), *((role,) for role in known), tuple(known)]
    return tuple(
        Caller(
            principal=principal,
            actor=principal if kind == "human" else f"{principal}-bot",
            actor_kind=kind,
            roles=chosen,
            tenants=(),
            grant_id="proof",
        )
        for chosen in dict.fromkeys(sets)
        for principal, kind in zip(principals, _KINDS, strict=False)
    )


def prove(
    collection: Collection,
    named: AnyCollection[str],
    keeper: Gatekeeper,
    callers: Sequence[Caller],
    seed: str,
    rows_max: int = ROWS_MAX,
) -> Proof:
    """Compare what the plan of each caller selects with what is allowed row by row.

    `named` are the fields that the policy `rows_<collection>` names. The rows are `generated_rows`;
    they lie in a database in memory, for as long as this takes. Raises Refused where the policy
    engine gives no answer: that is no difference.
    """
    gates = [KeptRows(keeper, one, _rules(collection, named), unwitnessed) for one in callers]
    texts = [text for one in callers for text in (one.principal, one.actor) if text]
    lefts = [_left(collection, gate) for gate in gates]
    misspelt = {one for left in lefts for one in _misspelt(collection, left, texts)}
    plans = [_planned(collection, left, {one.rule for one in misspelt}) for left in lefts]
    trees = [plan.tree for one in plans for plan in one.values() if plan is not None and plan.tree]
    rows = generated_rows(collection, named, trees, texts, seed, rows_max)
    found: set[Difference] = set()
    with _scratch(collection, named, rows) as (connection, table):
        for caller, gate, planned in zip(callers, gates, plans, strict=True):
            allowed = _allowed(collection, gate, rows)
            selected = {
                actions: None if plan is None else _selected(connection, table, plan)
                for actions, plan in planned.items()
            }
            found.update(_parted(collection, caller, rows, selected, allowed))
    told = tuple(sorted(_least(found)))
    # What is created was in no database: no filter is asked for.
    exact = not told and {one.rule for one in misspelt} <= {_rule(collection, *_CREATE)}
    spelled = tuple(sorted(misspelt))
    return Proof(collection.name, exact, told[:DIFFERENCES_MAX], spelled[:DIFFERENCES_MAX])


def _rules(collection: Collection, named: AnyCollection[str]) -> Mapping[str, frozenset[str]]:
    return {collection.name: frozenset(named)}


def _rule(collection: Collection, action: str) -> str:
    return f"{kind_of(collection.name)}#{action}"


def _left(collection: Collection, gate: KeptRows) -> _Left:
    return {
        actions: _restriction(collection, gate, actions)
        for actions in (*asked_actions(collection), _CREATE)
    }


def _restriction(collection: Collection, gate: KeptRows, actions: _Actions) -> Restriction | None:
    try:
        return gate.restriction(collection.name, actions)
    except Refused as refused:
        # Told apart from an engine that does not answer: this one never will.
        if isinstance(refused.__cause__, Untranslatable):
            return None
        raise


def _misspelt(collection: Collection, left: _Left, texts: AnyCollection[str]) -> Iterator[Misspelt]:
    """What the caller brings into a plan, `texts`, is not the policy's to spell."""
    for (action, *more), found in left.items():
        if more or found is None or found.filter is None:
            continue
        for name, literal in _literals(found.filter):
            field = collection.fields.get(name)
            wanted = None if field is None else wanted_form(field, literal)
            if wanted is not None and literal not in texts:
                yield Misspelt(name, literal, wanted, _rule(collection, action))


def _literals(tree: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Each field with each text that it is compared with; the gate bounds a plan's tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(cast("Sequence[Mapping[str, Json]]", node.get("args", ())))
        said = node.get("value")
        for one in said if isinstance(said, list) else [said]:
            if isinstance(one, str):
                yield str(node["field"]), one


def _planned(collection: Collection, left: _Left, misspelt: AnyCollection[str]) -> _Plans:
    return {
        actions: _plan(collection, left[actions])
        for actions in asked_actions(collection)
        if not any(_rule(collection, action) in misspelt for action in actions)
    }


def _plan(collection: Collection, left: Restriction | None) -> _Plan | None:
    if left is None:
        return None
    try:
        tree = None if left.filter is None else parse_rule(left.filter, collection)
    except Refused:
        return None
    return _Plan(left.none, tree)


@contextmanager
def _scratch(
    collection: Collection, named: AnyCollection[str], rows: Sequence[Row]
) -> Generator[tuple[Connection, Table]]:
    columns = [Column(name, column_type(collection.fields[name])) for name in sorted(named)]
    # By number: a field may be called anything but what every row has.
    table = Table("scratch", MetaData(), Column("id", Integer, primary_key=True), *columns)
    engine = create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            table.create(connection)
            connection.execute(
                insert(table), [{"id": number, **row} for number, row in enumerate(rows)]
            )
            yield connection, table
    finally:
        engine.dispose()


def _selected(connection: Connection, table: Table, plan: _Plan) -> frozenset[int]:
    if plan.none:
        return frozenset()
    query = select(table.c.id)
    if plan.tree is not None:
        query = query.where(compile_filter(plan.tree, table))
    return frozenset(connection.execute(query).scalars())


def _allowed(
    collection: Collection, gate: KeptRows, rows: Sequence[Row]
) -> Mapping[int, frozenset[str]]:
    actions = (*_BASE_ACTIONS, *group_actions(collection))
    images = {str(number): image_of(row) for number, row in enumerate(rows)}
    may: dict[int, frozenset[str]] = {}
    for start in range(0, len(images), _ROWS_PER_QUESTION):
        batch = dict(itertools.islice(images.items(), start, start + _ROWS_PER_QUESTION))
        judged = gate.judged(collection.name, batch, actions)
        may.update({int(number): allowed for number, allowed in judged.items()})
    return may


def _parted(
    collection: Collection,
    caller: Caller,
    rows: Sequence[Row],
    selected: Mapping[_Actions, frozenset[int] | None],
    allowed: Mapping[int, frozenset[str]],
) -> Generator[Difference]:
    for actions, chosen in selected.items():
        alone = [selected[(action,)] for action in actions]
        if chosen is None:
            # Together they are as unsayable as one of them: that is told of the one.
            if len(actions) == 1 or None not in alone:
                yield _difference(collection, caller, actions[-1], "untranslatable")
            continue
        for number, may in allowed.items():
            missing = [action for action in actions if action not in may]
            if (number in chosen) is not bool(missing):
                continue
            nulls = [name for name, value in rows[number].items() if value is None]
            if missing:
                yield _difference(collection, caller, missing[0], "plan", nulls)
                continue
            culprits = [
                action
                for action, own in zip(actions, alone, strict=True)
                if own is not None and number not in own
            ]
            yield _difference(collection, caller, (*culprits, actions[-1])[0], "rule", nulls)


def _difference(
    collection: Collection,
    caller: Caller,
    action: str,
    side: Side,
    null_fields: Iterable[str] = (),
) -> Difference:
    rule = _rule(collection, action)
    return Difference(rule, action, tuple(sorted(caller.roles)), side, tuple(sorted(null_fields)))


def _least(found: set[Difference]) -> Generator[Difference]:
    """Of differences that are alike those with the fewest missing fields: what is beside them is noise."""
    by_rest: dict[tuple[str, tuple[str, ...], Side], set[frozenset[str]]] = {}
    for one in found:
        by_rest.setdefault((one.action, one.roles, one.side), set()).add(frozenset(one.null_fields))
    for one in found:
        nulls = by_rest[(one.action, one.roles, one.side)]
        if not any(other < frozenset(one.null_fields) for other in nulls):
            yield one
