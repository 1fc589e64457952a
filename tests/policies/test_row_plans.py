"""Plans of a real engine as filter trees: what a condition becomes, and what none can become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from policies.binary import Binary
from policies.errors import BadFacts, GateUnavailable, Untranslatable
from policies.gate import Gate
from policies.request import Principal
from policies.rows import RowPlan
from tests.policies.row_engine import ALLOW, DENY, engine, one_rule, rule


def leaf(op: str, field: str, value: object) -> dict[str, object]:
    return {"op": op, "field": field, "value": value}


def both(op: str, *args: object) -> dict[str, object]:
    return {"op": op, "args": [*args]}


NO_S = leaf("is_null", "s", True)
TREES: dict[str, object] = {
    'R.attr.s == "a"': leaf("eq", "s", "a"),
    'request.resource.attr.s == "a"': leaf("eq", "s", "a"),
    '"a" == R.attr.s': leaf("eq", "s", "a"),
    'R.attr.s != "a"': both("or", NO_S, leaf("ne", "s", "a")),
    '!(R.attr.s == "a")': both("or", NO_S, leaf("ne", "s", "a")),
    '!(R.attr.s != "a")': leaf("eq", "s", "a"),
    "R.attr.s == null": NO_S,
    "null != R.attr.s": leaf("is_null", "s", False),
    "!(R.attr.s == null)": leaf("is_null", "s", False),
    "R.attr.n < 3": leaf("lt", "n", 3),
    "R.attr.n <= 3": leaf("le", "n", 3),
    "3 < R.attr.n": leaf("gt", "n", 3),
    "3 >= R.attr.n": leaf("le", "n", 3),
    "!(R.attr.n >= -3)": leaf("lt", "n", -3),
    "R.attr.n == 1.5": leaf("eq", "n", 1.5),
    "R.attr.n == 9007199254740993": leaf("eq", "n", 9007199254740992.0),
    'R.attr.s < "b"': leaf("lt", "s", "b"),
    "R.attr.b": leaf("eq", "b", True),
    "!R.attr.b": leaf("eq", "b", False),
    "R.attr.b == false": leaf("eq", "b", False),
    'R.attr.s in ["a", "b"]': leaf("in", "s", ["a", "b"]),
    "R.attr.n in [1, 2.5]": leaf("in", "n", [1, 2.5]),
    'R.attr.s in ["a", null]': both("or", NO_S, leaf("in", "s", ["a"])),
    "R.attr.s in [null]": NO_S,
    "R.attr.s in []": False,
    "!(R.attr.s in [])": True,
    'R.attr.s in ["a"]': leaf("eq", "s", "a"),
    '!(R.attr.s in ["a", "b"])': both("or", NO_S, both("not", leaf("in", "s", ["a", "b"]))),
    '!(R.attr.s in ["a", null])': both(
        "and", leaf("is_null", "s", False), both("not", leaf("in", "s", ["a"]))
    ),
    "!(R.attr.s in [null])": leaf("is_null", "s", False),
    'R.attr.s == "a" && R.attr.t == "c" && R.attr.b': both(
        "and", leaf("eq", "s", "a"), leaf("eq", "t", "c"), leaf("eq", "b", True)
    ),
    '!(R.attr.s == "a" && R.attr.n < 3)': both(
        "or", NO_S, leaf("ne", "s", "a"), leaf("ge", "n", 3)
    ),
    'R.attr.s == "a" || P.attr.actor == "bot"': True,
    'R.attr.s == "a" || P.attr.actor == "other"': leaf("eq", "s", "a"),
    "R.attr.s == P.id": leaf("eq", "s", "ann"),
    "R.attr.s == P.attr.actor": leaf("eq", "s", "bot"),
    'P.attr.actor == "other"': False,
    "true": True,
    'R.attr.t == "it\'s \\"so\\" \\\\ \u00fc"': leaf("eq", "t", 'it\'s "so" \\ \u00fc'),
}
UNSAYABLE: dict[str, str] = {
    'R.attr.s.startsWith("secret")': "startsWith",
    'R.attr.s.contains("secret")': "contains",
    'R.attr.s.matches("secret")': "matches",
    'R.attr.s.lowerAscii() == "secret"': "eq",
    "R.attr.s == R.attr.t": "eq",
    "R.attr.n < R.attr.m": "gt",
    'R.attr.o.p == "secret"': "variable",
    'R.id == "secret"': "variable",
    'R.attr.b ? true : R.attr.s == "secret"': "if",
    'R.attr.l.exists(one, one == "secret")': "exists",
    '["secret"].exists(one, R.attr.s.startsWith(one))': "startsWith",
    '"secret" in R.attr.l': "in",
    '(R.attr.s == "secret") == true': "eq",
    'R.attr.s == ["secret"]': "eq",
    "R.attr.n + 1 < 3": "lt",
    "size(R.attr.s) == 3": "eq",
    "timestamp(R.attr.s) < now()": "lt",
    "R.attr.n < null": "lt",
    "R.attr.b < true": "lt",
    "dyn(R.attr.s) == 1": "eq",
}


def tabled() -> dict[str, list[Any]]:
    kinds = {f"rows_t{number}": one_rule(text) for number, text in enumerate(TREES)}
    kinds |= {f"odd_{number}": one_rule(text) for number, text in enumerate(UNSAYABLE)}
    kinds["rows_long"] = [
        rule(ALLOW, ("viewer",), ("read",), {"expr": f"R.attr.n == {number}"})
        for number in range(40)
    ]
    kinds["rows_many"] = [
        rule(ALLOW, ("viewer",), ("read",), {"expr": 'R.attr.s == "a"'}),
        rule(ALLOW, ("support",), ("read",), {"expr": 'R.attr.s == "b"'}),
        rule(ALLOW, ("support",), ("read_pii",), {"expr": "R.attr.n == 1"}),
        rule(ALLOW, ("viewer", "support"), ("create",), None),
        rule(ALLOW, ("bots",), ("update",), {"expr": 'R.attr.t == "c"'}),
        rule(ALLOW, ("viewer",), ("delete",), None),
        rule(DENY, ("*",), ("delete",), None),
        rule(DENY, ("*",), ("read",), {"expr": "R.attr.n == 5"}),
    ]
    kinds["rows_plain"] = one_rule("R.attr.n == 1")
    return kinds


@pytest.fixture(scope="module")
def rows_gate(binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    yield from engine(binary, tmp_path_factory.mktemp("rows"), tabled())


BOT = Principal("ann", ("viewer",), {"actor_kind": "agent", "actor": "bot"})


def planned(gate: Gate, kind: str, *actions: str, who: Principal = BOT) -> RowPlan:
    return gate.plan(who, kind, {}, actions or ("read",))


def as_plan(tree: Any) -> RowPlan:
    if isinstance(tree, bool):
        return RowPlan("all" if tree else "none")
    return RowPlan("some", tree)


@pytest.mark.parametrize("text", TREES)
def test_a_condition_becomes_its_tree(rows_gate: Gate, text: str) -> None:
    plan = planned(rows_gate, f"rows_t{list(TREES).index(text)}")
    assert plan == as_plan(TREES[text])
    assert json.dumps(plan.filter) == json.dumps(as_plan(TREES[text]).filter)  # 3 is no 3.0
    assert plan.decision_id


@pytest.mark.parametrize("text", UNSAYABLE)
def test_what_no_filter_can_say_is_refused_by_its_operator(rows_gate: Gate, text: str) -> None:
    kind = f"odd_{list(UNSAYABLE).index(text)}"
    with pytest.raises(Untranslatable) as caught:
        planned(rows_gate, kind)
    assert (caught.value.part, caught.value.operator) == (kind, UNSAYABLE[text])
    assert "secret" not in str(caught.value)


def test_a_rule_more_is_no_level_more(rows_gate: Gate) -> None:
    expected = both("or", *(leaf("eq", "n", number) for number in range(40)))
    assert planned(rows_gate, "rows_long") == as_plan(expected)


A, B = leaf("eq", "s", "a"), leaf("eq", "s", "b")
NOT_FIVE = both("or", leaf("is_null", "n", True), leaf("ne", "n", 5))


@pytest.mark.parametrize(
    ("roles", "actions", "expected"),
    [
        (("viewer",), ("read",), both("and", NOT_FIVE, A)),
        (("viewer", "support"), ("read",), both("and", NOT_FIVE, both("or", A, B))),
        (("support",), ("read", "read_pii"), both("and", NOT_FIVE, B, leaf("eq", "n", 1))),
        (("support",), ("create",), True),
        (("support",), ("create", "read_pii"), leaf("eq", "n", 1)),
        (("viewer",), ("create", "read_pii"), False),
        (("viewer",), ("create", "delete"), False),
        (("viewer",), ("create", "never"), False),
        (("viewer",), ("update",), leaf("eq", "t", "c")),
        (("stranger",), ("read",), False),
        ((), ("read",), False),
    ],
)
def test_several_rules_roles_and_actions_are_one_plan(
    rows_gate: Gate, roles: tuple[str, ...], actions: tuple[str, ...], expected: object
) -> None:
    who = Principal("ann", roles, {"actor_kind": "agent", "actor": "bot"})
    plan = planned(rows_gate, "rows_many", *actions, who=who)
    wanted = as_plan(expected)
    assert plan.kind == wanted.kind
    # The engine puts the roles of a caller in no order of ours.
    assert sorted(json.dumps(plan.filter)) == sorted(json.dumps(wanted.filter))


def test_a_derived_role_that_does_not_hold_allows_nothing(rows_gate: Gate) -> None:
    human = Principal("ann", ("viewer",), {"actor_kind": "human", "actor": ""})
    assert planned(rows_gate, "rows_many", "update", who=human) == RowPlan("none")


def test_what_is_known_of_each_row_is_taken_out_of_the_plan(rows_gate: Gate) -> None:
    known = rows_gate.plan(BOT, "rows_many", {"n": 1}, ("read",))
    assert known == as_plan(A)
    assert rows_gate.plan(BOT, "rows_many", {"s": None}, ("read",)) == RowPlan("none")


def test_no_policy_is_told_from_no_rule(rows_gate: Gate) -> None:
    stranger = Principal("ann", ("stranger",), {"actor_kind": "human", "actor": ""})
    assert planned(rows_gate, "rows_plain", who=stranger) == RowPlan("none")
    assert planned(rows_gate, "rows_plain", "never") == RowPlan("none")
    with pytest.raises(GateUnavailable, match="no policy"):
        planned(rows_gate, "rows_ghost")
    rows_gate.version, right = "d0000000000000000", rows_gate.version
    try:
        with pytest.raises(GateUnavailable, match="no policy"):
            planned(rows_gate, "rows_plain")
    finally:
        rows_gate.version = right


def test_facts_that_break_the_schema_are_bad_facts(rows_gate: Gate) -> None:
    for attr, part in (({"n": "s3cret"}, "rows_plain.n"), ({"zzz": 1}, "rows_plain")):
        with pytest.raises(BadFacts) as caught:
            rows_gate.plan(BOT, "rows_plain", attr, ("read",))
        assert caught.value.part == part
        assert "s3cret" not in str(caught.value)
    odd = Principal("ann", ("viewer",), {"actor_kind": "god", "actor": ""})
    with pytest.raises(BadFacts):
        planned(rows_gate, "rows_plain", who=odd)
