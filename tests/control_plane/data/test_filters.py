"""Filter trees: what is refused, and that SQL selects what the tree means."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, insert, select

from control_plane.data.collection import Collection
from control_plane.data.filters import (
    DEPTH_MAX,
    Comparison,
    Junction,
    Tree,
    all_of,
    compile_filter,
    filter_digest,
    parse_filter,
    plain_filter,
)
from control_plane.errors import BadInput

ID = "00000000-0000-4000-8000-00000000000{}"
VALUES: Mapping[str, list[Any]] = {
    "label": [
        "",
        "acme",
        "Acme",
        "a%",
        "a_c",
        "a'b",
        '"',
        "\u00e9",
        "e\u0301",
        "\uffff",
        "\U0001f600",
    ],
    "code": ["a", "b", "0"],
    "story": ["", "x; DROP TABLE things --", "\\", "\n"],
    "count": [0, -1, 1, 10, 2**53 - 1, -(2**53) + 1],
    "active": [True, False],
    "born": [date(1000, 1, 1), date(2024, 2, 29), date(9999, 12, 31)],
    "seen": [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(1000, 1, 1, tzinfo=UTC),
    ],
    "other": [ID.format(1), ID.format(2)],
    "status": ["lead", "customer"],
    "balance": [0, 1, 99, 100],
}
ORDERED = ["label", "code", "story", "count", "born", "seen", "balance"]
COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "in": lambda value, among: value in among,
}


def meaning(tree: Tree, row: Mapping[str, Any]) -> bool | None:
    """The tree's truth for a row, in three values; None is unknown."""
    if isinstance(tree, Comparison):
        value = row[tree.field]
        if tree.op == "is_null":
            return (value is None) == tree.value
        return None if value is None else COMPARED[tree.op](value, tree.value)
    truths = [meaning(arg, row) for arg in tree.args]
    if tree.op == "not":
        return None if truths[0] is None else not truths[0]
    decisive = tree.op == "or"
    if decisive in truths:
        return decisive
    return None if None in truths else not decisive


def comparisons() -> st.SearchStrategy[Tree]:
    def of(field: str) -> st.SearchStrategy[Tree]:
        one = st.sampled_from(VALUES[field])
        ops = ["eq", "ne", *(["lt", "le", "gt", "ge"] if field in ORDERED else [])]
        return st.one_of(
            st.builds(Comparison, st.sampled_from(ops), st.just(field), one),
            st.builds(
                Comparison,
                st.just("in"),
                st.just(field),
                st.lists(one, min_size=1, max_size=3).map(tuple),
            ),
            st.builds(Comparison, st.just("is_null"), st.just(field), st.booleans()),
        )

    return st.sampled_from(sorted(VALUES)).flatmap(of)


def junctions(trees: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    some = st.lists(trees, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Junction, st.just("not"), st.tuples(trees)),
        st.builds(Junction, st.sampled_from(["and", "or"]), some),
    )


def depth(tree: Tree) -> int:
    return 1 if isinstance(tree, Comparison) else 1 + max(depth(arg) for arg in tree.args)


TREES = st.recursive(comparisons(), junctions, max_leaves=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: st.sampled_from(values if name == "code" else [None, *values])
            for name, values in VALUES.items()
        }
    ),
    min_size=1,
    max_size=6,
)
SHARED = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.long_but_one
@SHARED
@given(tree=TREES, rows=ROWS)
def test_sql_selects_the_rows_for_which_the_tree_is_true(
    connection: Connection, table: Table, tree: Tree, rows: list[dict[str, Any]]
) -> None:
    implicit = {"tenant_id": "acme", "version": 1, "created_at": datetime(2024, 1, 1, tzinfo=UTC)}
    connection.execute(table.delete())
    connection.execute(
        insert(table), [{**implicit, **row, "id": ID.format(i)} for i, row in enumerate(rows)]
    )
    found = connection.execute(select(table.c.id).where(compile_filter(tree, table))).scalars()
    expected = {ID.format(i) for i, row in enumerate(rows) if meaning(tree, row) is True}
    assert set(found) == expected


@SHARED
@given(tree=TREES)
def test_a_tree_comes_back_from_its_plain_form(things: Collection, tree: Tree) -> None:
    assume(depth(tree) <= DEPTH_MAX)
    parsed = parse_filter(plain_filter(tree), things, things.columns)
    assert parsed == tree
    assert filter_digest(parsed) == filter_digest(tree)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["op", "args", "field", "value", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@SHARED
@given(data=JSON_VALUES)
def test_any_json_is_a_tree_or_bad_input(things: Collection, data: object) -> None:
    path = "filter"
    try:
        parse_filter(data, things, things.columns)
    except BadInput as error:
        path = error.field
    assert path.startswith("filter")


WRONG: list[tuple[object, str, str]] = [
    ("x", "filter", "must be an object"),
    ({}, "filter.op", "must be one of"),
    ({"op": "like", "field": "label", "value": "a%"}, "filter.op", "must be one of"),
    ({"op": ["eq"], "field": "label", "value": "a"}, "filter.op", "must be one of"),
    ({"op": "and", "args": []}, "filter.args", "1 to 64"),
    ({"op": "and", "args": {}}, "filter.args", "1 to 64"),
    ({"op": "not", "args": [{}, {}]}, "filter.args", "1 to 1"),
    ({"op": "or", "args": [{}], "x": 1}, "filter", "exactly args, op"),
    ({"op": "eq", "field": "label"}, "filter", "exactly field, op, value"),
    ({"op": "eq", "field": "nothing", "value": 1}, "filter.field", "unknown field"),
    ({"op": "eq", "field": ["label"], "value": 1}, "filter.field", "unknown field"),
    ({"op": "eq", "field": "label", "value": 1}, "filter.value", "valid string"),
    ({"op": "eq", "field": "label", "value": None}, "filter.value", "use is_null"),
    ({"op": "eq", "field": "count", "value": "1"}, "filter.value", "valid integer"),
    ({"op": "eq", "field": "count", "value": True}, "filter.value", "valid integer"),
    ({"op": "eq", "field": "active", "value": 1}, "filter.value", "valid boolean"),
    ({"op": "lt", "field": "active", "value": True}, "filter.op", "does not fit"),
    ({"op": "gt", "field": "status", "value": "lead"}, "filter.op", "does not fit"),
    ({"op": "eq", "field": "status", "value": "x"}, "filter.value", "'lead' or 'customer'"),
    ({"op": "eq", "field": "born", "value": "today"}, "filter.value", "YYYY-MM-DD"),
    ({"op": "in", "field": "count", "value": 1}, "filter.value", "list of 1 to 100"),
    ({"op": "in", "field": "count", "value": [1] * 101}, "filter.value", "1 to 100"),
    ({"op": "in", "field": "count", "value": [1, None]}, "filter.value[1]", "use is_null"),
    ({"op": "is_null", "field": "count", "value": "x"}, "filter.value", "true or false"),
    (
        {"op": "or", "args": [{"op": "not", "args": [{"op": "x"}]}]},
        "filter.args[0].args[0].op",
        "must be one of",
    ),
]


@pytest.mark.parametrize(("data", "field", "rule"), WRONG)
def test_a_wrong_tree_is_refused_by_path_and_rule(
    things: Collection, data: object, field: str, rule: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parse_filter(data, things, things.columns)
    assert caught.value.field == field
    assert rule in caught.value.rule


def test_a_field_that_may_not_be_read_is_as_unknown_as_one_that_is_not(things: Collection) -> None:
    told: list[str] = []
    for field in ("story", "missing"):
        with pytest.raises(BadInput) as caught:
            parse_filter({"op": "eq", "field": field, "value": "x"}, things, {"label"})
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_value_is_never_told(things: Collection) -> None:
    with pytest.raises(BadInput) as caught:
        parse_filter({"op": "eq", "field": "seen", "value": "hunter2"}, things, things.columns)
    assert "hunter2" not in str(caught.value)


def nested(depth: int) -> object:
    data: object = {"op": "is_null", "field": "label"}
    for _ in range(depth - 1):
        data = {"op": "not", "args": [data]}
    return data


def test_a_tree_is_at_most_eight_deep(things: Collection) -> None:
    parse_filter(nested(8), things, things.columns)
    with pytest.raises(BadInput, match="at most 8 deep"):
        parse_filter(nested(9), things, things.columns)
    with pytest.raises(BadInput, match="at most 8 deep"):
        parse_filter(nested(5_000), things, things.columns)


def test_a_tree_has_at_most_64_nodes(things: Collection) -> None:
    leaf = {"op": "is_null", "field": "label"}
    parse_filter({"op": "and", "args": [leaf] * 63}, things, things.columns)
    with pytest.raises(BadInput, match="at most 64 nodes"):
        parse_filter({"op": "and", "args": [leaf] * 64}, things, things.columns)


def test_trees_are_joined_by_and(things: Collection) -> None:
    one = parse_filter({"op": "is_null", "field": "label"}, things, things.columns)
    two = parse_filter({"op": "is_null", "field": "story"}, things, things.columns)
    assert all_of(None, None) is None
    assert all_of(None, one) == one
    assert all_of(one, None, two) == Junction("and", (one, two))
