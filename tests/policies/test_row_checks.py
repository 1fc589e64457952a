"""Random policies about rows: a plan selects the rows that a check allows, and where it is more."""

from __future__ import annotations

import itertools
import json
import operator
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from policies.binary import Binary
from policies.gate import Gate
from policies.request import Principal, Resource
from policies.rows import RowPlan
from tests.policies.row_engine import ALLOW, DENY, engine, rule

ROWS: list[dict[str, Any]] = [
    {"s": s, "n": n, "b": b, "t": t}
    for s, n, b, t in itertools.product(
        (None, "a", "ann"), (None, 1, 2), (None, True, False), ("a", "c")
    )
]
CALLERS = [
    Principal("ann", ("viewer",), {"actor_kind": "human", "actor": ""}),
    Principal("ann", ("support", "viewer"), {"actor_kind": "agent", "actor": "bot"}),
    Principal("bob", ("support",), {"actor_kind": "human", "actor": ""}),
    Principal("ann", (), {"actor_kind": "human", "actor": ""}),
]
ACTIONS = [("read",), ("read", "read_pii"), ("delete", "read")]
SAFE = [
    'R.attr.s == "a"', 'R.attr.s != "a"', "R.attr.s == P.id", 'R.attr.s in ["a", "zoe"]',
    'R.attr.s in ["ann", null]', "R.attr.s == null", "null != R.attr.n", "R.attr.n == 1",
    "2 != R.attr.n", "R.attr.n in [2, 3]", "R.attr.b == true", "R.attr.b != false",
    "R.attr.b == null", 'R.attr.t == "c"', 'R.attr.t < "b"', 'P.attr.actor == "bot"',
    'P.attr.actor_kind != "agent"',
]  # fmt: skip
ERRING = ["R.attr.n < 2", "2 <= R.attr.n", "R.attr.b", "!R.attr.b", 'R.attr.s > "a"']
"""What errs where the value is missing, and what it needs before it."""
BARE = '"expr": "(R.attr.b)"'
"""The one that does not err when it is all of a condition: it is false then."""
GUARDS = {name: f"R.attr.{name} != null" for name in ("s", "n", "b")}


def expression(chance: random.Random, depth: int, *, guarded: bool) -> str:
    form = chance.choice(["atom", "and", "or", "not"]) if depth else "atom"
    if form == "atom":
        atom = chance.choice([*SAFE, *ERRING, *ERRING])
        if guarded and atom in ERRING:
            name = next(name for name in GUARDS if f"R.attr.{name}" in atom)
            return f"({GUARDS[name]} && ({atom}))"
        return f"({atom})"
    first = expression(chance, depth - 1, guarded=guarded)
    if form == "not":
        return f"!{first}"
    sign = "&&" if form == "and" else "||"
    return f"({first} {sign} {expression(chance, depth - 1, guarded=guarded)})"


def match(chance: random.Random, *, guarded: bool) -> dict[str, Any]:
    form = chance.choice(["expr", "expr", "all", "any", "none"])
    if form == "expr":
        return {"expr": expression(chance, 2, guarded=guarded)}
    parts = [{"expr": expression(chance, 1, guarded=guarded)} for _ in range(2)]
    return {form: {"of": parts}}


def random_rules(chance: random.Random, *, guarded: bool) -> list[dict[str, Any]]:
    rules = [
        rule(
            ALLOW,
            chance.choice([("viewer",), ("support",), ("viewer", "support"), ("bots",)]),
            chance.choice([("read",), ("read_pii", "read"), ("read", "delete", "read_pii")]),
            None if chance.random() < 0.1 else match(chance, guarded=guarded),
        )
        for _ in range(chance.randint(1, 3))
    ]
    for _ in range(chance.randint(0, 2)):
        actions = chance.choice([("read",), ("read", "read_pii", "delete")])
        rules.append(rule(DENY, ("*",), actions, match(chance, guarded=guarded)))
    chance.shuffle(rules)
    return rules


def random_kinds(seed: int, count: int, *, guarded: bool) -> dict[str, list[Any]]:
    stem = "safe" if guarded else "any"
    return {
        f"rows_{stem}{seed}_{number}": random_rules(
            random.Random(f"{seed} {number}"), guarded=guarded
        )
        for number in range(count)
    }


DEFAULT_SEED, DEFAULT_COUNT = 1, 10


@pytest.fixture(scope="module")
def rows_gate(binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    always = rule(ALLOW, ("viewer",), ("read",), None)
    barred = {
        "rows_bare": [always, rule(DENY, ("*",), ("read",), {"expr": "R.attr.b"})],
        "rows_compared": [always, rule(DENY, ("*",), ("read",), {"expr": "R.attr.b == true"})],
    }
    drawn = [
        random_kinds(DEFAULT_SEED, DEFAULT_COUNT, guarded=guarded) for guarded in (False, True)
    ]
    yield from engine(binary, tmp_path_factory.mktemp("rows"), barred | drawn[0] | drawn[1])


COMPARE: dict[str, Callable[[Any, Any], object]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "in": lambda held, values: held in values,
}


def truth(tree: Any, row: Mapping[str, Any]) -> bool | None:
    """A tree's value for a row: true, false, or None for unknown."""
    if "args" in tree:
        parts = [truth(arg, row) for arg in tree["args"]]
        if tree["op"] == "not":
            return None if parts[0] is None else not parts[0]
        settles = bool(tree["op"] == "or")
        if settles in parts:
            return settles
        return None if None in parts else not settles
    held, value = row[tree["field"]], tree["value"]
    if tree["op"] == "is_null":
        return bool((held is None) == value)
    if held is None:
        return None
    compare = COMPARE[tree["op"]]
    return bool(compare(held, value))


def selected(plan: RowPlan, row: Mapping[str, Any]) -> bool:
    return plan.kind == "all" if plan.filter is None else truth(plan.filter, row) is True


def disagreements(
    gate: Gate, kind: str, who: Principal, actions: tuple[str, ...]
) -> list[tuple[dict[str, Any], bool]]:
    """The rows of which plan and check say different things, and what the plan says."""
    plan = gate.plan(who, kind, {}, actions)
    asked = [Resource(kind, f"r{number}", row, actions) for number, row in enumerate(ROWS)]
    found: list[tuple[dict[str, Any], bool]] = []
    for row, decision in zip(ROWS, gate.check(who, asked), strict=True):
        in_plan = selected(plan, row)
        if in_plan is not all(decision.allows(action) for action in actions):
            found.append((row, in_plan))
    return found


Found = list[tuple[str, dict[str, Any], bool]]


def compare(gate: Gate, kinds: Mapping[str, list[Any]], *, whole: bool = False) -> Found:
    """Each kind for each caller: with one set of actions in turn, or with every one."""
    turns = itertools.cycle(ACTIONS)
    return [
        (kind, row, in_plan)
        for kind in kinds
        for who in CALLERS
        for actions in (ACTIONS if whole else [next(turns)])
        for row, in_plan in disagreements(gate, kind, who, actions)
    ]


def assert_more_only_where_a_condition_errs(kinds: Mapping[str, list[Any]], found: Found) -> None:
    for kind, row, in_plan in found:
        text = json.dumps(kinds[kind]).replace('\\"', '"')
        if not in_plan:
            assert BARE in text, f"{kind} allows {row}, which its plan leaves out"
            assert row["b"] is None
            continue
        erring = [atom for atom in ERRING if f"({atom})" in text]
        missing = [name for name, value in row.items() if value is None]
        assert any(f"R.attr.{name}" in atom for atom in erring for name in missing), (kind, row)
    assert any(in_plan for _, _, in_plan in found), (
        "the direction that the module tells of was never seen"
    )


def test_a_plan_selects_what_a_check_allows_and_more_only_where_a_condition_errs(
    rows_gate: Gate,
) -> None:
    kinds = random_kinds(DEFAULT_SEED, DEFAULT_COUNT, guarded=False)
    assert_more_only_where_a_condition_errs(kinds, compare(rows_gate, kinds))


def test_a_plan_of_guarded_conditions_selects_exactly_what_a_check_allows(rows_gate: Gate) -> None:
    kinds = random_kinds(DEFAULT_SEED, DEFAULT_COUNT, guarded=True)
    assert compare(rows_gate, kinds) == []


def test_a_bare_attribute_that_is_missing_is_false_to_a_deny_and_not_to_its_plan(
    rows_gate: Gate,
) -> None:
    for kind, less in (("rows_bare", True), ("rows_compared", False)):
        found = disagreements(rows_gate, kind, CALLERS[0], ("read",))
        assert {(row["b"], in_plan) for row, in_plan in found} == (
            {(None, False)} if less else set()
        )


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_more_policies_keep_it_so(binary: Binary, tmp_path: Path, seed: int) -> None:
    loose = random_kinds(seed, 40, guarded=False)
    safe = random_kinds(seed, 40, guarded=True)
    for gate in engine(binary, tmp_path, loose | safe):
        assert_more_only_where_a_condition_errs(loose, compare(gate, loose, whole=True))
        assert compare(gate, safe, whole=True) == []
