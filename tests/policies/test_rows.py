"""The translator before plans that no engine would send: nothing it does not know becomes a tree."""

from __future__ import annotations

import pytest
from cerbos.engine.v1 import engine_pb2
from google.protobuf import json_format

from policies.errors import BadFacts, GateUnavailable, Untranslatable
from policies.rows import DEPTH_MAX, NODES_MAX, RowPlan, translate

Filter = engine_pb2.PlanResourcesFilter


def variable(name: str) -> dict[str, object]:
    return {"variable": f"request.resource.attr.{name}"}


def op(operator: str, *operands: object) -> dict[str, object]:
    return {"expression": {"operator": operator, "operands": [*operands]}}


X_IS_1 = op("eq", variable("x"), {"value": 1})


def said(condition: object, kind: str = "KIND_CONDITIONAL") -> RowPlan:
    message = {"kind": kind} if condition is None else {"kind": kind, "condition": condition}
    parsed = json_format.ParseDict(message, Filter(), max_recursion_depth=1_000)
    return translate(parsed, "rows_things", "call")


def test_the_engine_s_kind_is_the_plan_s() -> None:
    assert said(None, "KIND_ALWAYS_ALLOWED") == RowPlan("all")
    assert said(None, "KIND_ALWAYS_DENIED") == RowPlan("none")
    assert said(X_IS_1) == RowPlan("some", {"op": "eq", "field": "x", "value": 1})
    assert said(X_IS_1).decision_id == "call"


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        (None, "KIND_CONDITIONAL"),
        (None, "KIND_UNSPECIFIED"),
        (X_IS_1, "KIND_ALWAYS_ALLOWED"),
        (X_IS_1, "KIND_ALWAYS_DENIED"),
        (X_IS_1, "KIND_UNSPECIFIED"),
    ],
)
def test_an_answer_that_contradicts_itself_is_unavailable(condition: object, kind: str) -> None:
    with pytest.raises(GateUnavailable):
        said(condition, kind)


def test_a_kind_to_come_is_unavailable() -> None:
    with pytest.raises(GateUnavailable):
        translate(Filter(kind=9), "rows_things")  # type: ignore[arg-type]


SECRET = {"value": "s3cret"}


@pytest.mark.parametrize(
    ("condition", "operator"),
    [
        ({}, "value"),
        (SECRET, "value"),
        ({"value": None}, "value"),
        ({"value": [True]}, "value"),
        (variable("x.y"), "variable"),
        (variable("X"), "variable"),
        ({"variable": "request.resource.attr"}, "variable"),
        ({"variable": "request.resource.id"}, "variable"),
        ({"variable": "request.principal.attr.x"}, "variable"),
        (op("and"), "and"),
        (op("or"), "or"),
        (op("not"), "not"),
        (op("not", X_IS_1, X_IS_1), "not"),
        (op("eq", variable("x")), "eq"),
        (op("eq", variable("x"), SECRET, SECRET), "eq"),
        (op("eq", SECRET, SECRET), "eq"),
        (op("eq", variable("x"), variable("y")), "eq"),
        (op("eq", variable("x"), {"value": {"a": "s3cret"}}), "eq"),
        (op("eq", variable("x"), {"value": ["s3cret"]}), "eq"),
        (op("eq", X_IS_1, {"value": True}), "eq"),
        (op("in", variable("x"), SECRET), "in"),
        (op("in", variable("x"), {"value": [["s3cret"]]}), "in"),
        (op("in", {"value": ["s3cret"]}, variable("x")), "in"),
        (op("in", variable("x"), op("list", SECRET)), "in"),
        (op("lt", variable("x"), {"value": None}), "lt"),
        (op("ge", variable("x"), {"value": True}), "ge"),
        (op("startsWith", variable("x"), SECRET), "startsWith"),
        (op("EQ", variable("x"), SECRET), "EQ"),
        (op("", variable("x"), SECRET), "unknown"),
        (op("s3cret; drop", variable("x"), SECRET), "unknown"),
        (op("o" * 65, variable("x"), SECRET), "unknown"),
    ],
)
@pytest.mark.parametrize("under", ["", "not", "or"])
def test_what_is_not_known_is_refused_wherever_it_stands(
    condition: dict[str, object], operator: str, under: str
) -> None:
    wrapped = {"": condition, "not": op("not", condition), "or": op("or", X_IS_1, condition)}
    with pytest.raises(Untranslatable) as caught:
        said(wrapped[under])
    assert caught.value.operator == operator
    assert isinstance(caught.value, BadFacts)
    assert "s3cret" not in str(caught.value)


def test_numbers_that_are_none_are_refused() -> None:
    for odd in ("NaN", "Infinity", "-Infinity"):
        message = json_format.ParseDict(
            {"kind": "KIND_CONDITIONAL", "condition": op("eq", variable("x"), {"value": 0})},
            Filter(),
        )
        message.condition.expression.operands[1].value.number_value = float(odd)
        with pytest.raises(Untranslatable):
            translate(message, "rows_things")


def test_an_integral_double_is_an_integer_while_it_is_one() -> None:
    values = [(3.0, 3), (-0.0, 0), (2.5, 2.5), (2.0**53 - 1, 2**53 - 1), (2.0**53, 2.0**53)]
    for sent, expected in values:
        plan = said(op("eq", variable("x"), {"value": sent}))
        assert plan.filter is not None
        assert repr(plan.filter["value"]) == repr(expected)


def test_depth_is_bounded_and_nesting_of_one_operator_is_none() -> None:
    deep: dict[str, object] = X_IS_1
    for level in range(DEPTH_MAX - 1):
        deep = op("or" if level % 2 else "and", deep, X_IS_1)
    assert said(deep).kind == "some"
    with pytest.raises(Untranslatable, match="depth"):
        said(op("not", deep))
    long: dict[str, object] = X_IS_1
    for _ in range(3 * DEPTH_MAX):
        long = op("or", long, X_IS_1)
    plan = said(long)
    assert plan.filter is not None
    assert plan.filter["op"] == "or"
    assert len(plan.filter["args"]) == 3 * DEPTH_MAX + 1  # type: ignore[arg-type]


def test_size_is_bounded() -> None:
    values = [*range(NODES_MAX - 3)]
    assert said(op("in", variable("x"), {"value": values})).kind == "some"
    with pytest.raises(Untranslatable, match="size"):
        said(op("in", variable("x"), {"value": [*values, *values]}))
    with pytest.raises(Untranslatable, match="size"):
        said(op("or", *[X_IS_1] * NODES_MAX))


def test_what_is_constant_is_folded_also_under_a_negation() -> None:
    true, false = {"value": True}, {"value": False}
    assert said(op("or", X_IS_1, true)) == RowPlan("all")
    assert said(op("and", X_IS_1, true)) == said(X_IS_1)
    assert said(op("and", X_IS_1, false)) == RowPlan("none")
    assert said(op("not", op("or", X_IS_1, true))) == RowPlan("none")
    assert said(op("not", op("and", X_IS_1, false))) == RowPlan("all")
    assert said(op("not", op("not", true))) == RowPlan("all")
