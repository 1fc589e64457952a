"""Rows added up in the database come to what adding them up by hand does, on each engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table

from control_plane.data.aggregates import Question, aggregate
from control_plane.data.collection import Collection
from control_plane.data.filters import Comparison, Tree
from control_plane.data.measures import Measure, check_groups, parse_measures
from control_plane.data.rows import Row, insert_row
from control_plane.data.values import INTEGER_MAX, to_json
from control_plane.errors import BadInput, Refused

NOW = datetime(2024, 1, 1, tzinfo=UTC)
MEASURES = (
    Measure("count"),
    Measure("count", "count"),
    Measure("sum", "balance"),
    Measure("sum", "price"),
    Measure("avg", "count"),
    Measure("avg", "price"),
    Measure("min", "born"),
    Measure("max", "label"),
    Measure("max", "price"),
)
_BY_OP: Mapping[str, Callable[[list[Any]], Any]] = {"sum": sum, "min": min, "max": max}
ROW = st.fixed_dictionaries(
    {
        "code": st.sampled_from(["a", "b"]),
        "label": st.none() | st.sampled_from(["x", "Y", "é", ""]),
        "status": st.none() | st.sampled_from(["lead", "customer"]),
        "active": st.none() | st.booleans(),
        "count": st.none() | st.integers(-9, 9),
        "balance": st.none() | st.integers(-(10**9), 10**9),
        "price": st.none() | st.integers(-(10**8) + 1, 10**8 - 1).map(lambda n: Decimal(n) / 100),
        "born": st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    }
)


def row_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def ask(
    connection: Connection,
    collection: Collection,
    table: Table,
    question: Question,
    predicate: Tree | None = None,
    **more: Any,
) -> tuple[list[dict[str, Any]], bool]:
    told: Mapping[str, Any] = {"any_row": True, "deadline_ms": 10_000, **more}
    return aggregate(connection, collection, table, "acme", predicate, question, **told)


def by_hand(rows: Iterable[Mapping[str, Any]], measure: Measure) -> Any:
    if measure.field is None:
        return len(list(rows))
    values = [row[measure.field] for row in rows if row.get(measure.field) is not None]
    if measure.op == "count":
        return len(values)
    if not values:
        return None
    if measure.op == "avg":
        mean = sum(values, Decimal(0)) / len(values)
        return str(mean.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN))
    found = _BY_OP[measure.op](values)
    return to_json(found.quantize(Decimal("0.01")) if isinstance(found, Decimal) else found)


@pytest.mark.parametrize("by", [(), ("status",), ("active", "code")], ids=repr)
def test_figures_are_those_of_adding_up_by_hand(
    connection: Connection, things: Collection, table: Table, by: tuple[str, ...]
) -> None:
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(ROW, max_size=12))
    def adds_up(rows: list[dict[str, Any]]) -> None:
        with connection.begin_nested() as inside:
            for number, row in enumerate(rows):
                insert_row(connection, table, "acme", row_id(number), row, now=NOW)
                insert_row(connection, table, "other", row_id(number), row, now=NOW)
            groups, more = ask(connection, things, table, Question(MEASURES, by, 0, 100))
            inside.rollback()
        assert not more
        expected: dict[tuple[Any, ...], list[dict[str, Any]]] = {} if by else {(): []}
        for row in rows:
            expected.setdefault(tuple(row[name] for name in by), []).append(row)
        found = {tuple(one["by"][name] for name in by): one for one in groups}
        assert found.keys() == expected.keys()
        for key, members in expected.items():
            assert found[key]["rows"] == len(members)
            assert found[key]["values"] == {one.name: by_hand(members, one) for one in MEASURES}

    adds_up()


def test_groups_of_too_few_rows_are_left_out(
    connection: Connection, things: Collection, table: Table
) -> None:
    for number, status in enumerate(["lead", "lead", "lead", "customer", "customer"]):
        values: Row = {"code": "a", "status": status}
        insert_row(connection, table, "acme", row_id(number), values, now=NOW)
    counted = (Measure("count"),)
    groups, _ = ask(connection, things, table, Question(counted, ("status",), 3, 10))
    assert [one["by"] for one in groups] == [{"status": "lead"}]
    few = Comparison("eq", "status", "customer")
    assert ask(connection, things, table, Question(counted, (), 3, 10), few) == ([], False)
    groups, _ = ask(connection, things, table, Question(counted, (), 2, 10), few)
    assert groups == [{"by": {}, "rows": 2, "values": {"count": 2}}]


def test_where_no_row_may_be_seen_nothing_is_counted(
    connection: Connection, things: Collection, table: Table
) -> None:
    insert_row(connection, table, "acme", row_id(1), {"code": "a"}, now=NOW)
    question = Question((Measure("count"),), (), 0, 10)
    (group,), _ = ask(connection, things, table, question, any_row=False)
    assert group["rows"] == 0


def test_more_groups_than_asked_for_are_told(
    connection: Connection, things: Collection, table: Table
) -> None:
    for number in range(5):
        values: Row = {"code": "a", "count": number}
        insert_row(connection, table, "acme", row_id(number), values, now=NOW)
    groups, more = ask(connection, things, table, Question((Measure("count"),), ("count",), 1, 3))
    assert ([one["by"]["count"] for one in groups], more) == ([0, 1, 2], True)


def test_a_sum_that_readers_would_round_is_refused(
    connection: Connection, things: Collection, table: Table
) -> None:
    for number in range(2):
        values: Row = {"code": "a", "balance": INTEGER_MAX}
        insert_row(connection, table, "acme", row_id(number), values, now=NOW)
    with pytest.raises(Refused) as refused:
        ask(connection, things, table, Question((Measure("sum", "balance"),), (), 0, 10))
    assert refused.value.code == "sum_too_large"


WRONG: list[tuple[list[dict[str, Any]], str]] = [
    ([], "measures: must be a list of 1 to 8"),
    ([{"op": "count"}] * 9, "measures: must be a list of 1 to 8"),
    ([{"op": "count"}] * 2, "measures: must not repeat a figure"),
    ([{"op": "median", "field": "count"}], "measures[0].op: must be one of count, sum, min"),
    ([{"op": "sum"}], "measures[0].field: unknown field"),
    ([{"op": "count"}, {"op": "sum", "field": "nothing"}], "measures[1].field: unknown field"),
    ([{"op": "max", "field": "story"}], "measures[0].field: unknown field"),
    ([{"op": "sum", "field": "label"}], "measures[0].op: does not fit kind string"),
    ([{"op": "max", "field": "details"}], "measures[0].op: does not fit kind json"),
]


@pytest.mark.parametrize(("data", "told"), WRONG)
def test_a_wrong_figure_is_named_by_place_and_rule(
    things: Collection, data: list[dict[str, Any]], told: str
) -> None:
    readable = set(things.columns) - {"story"}
    with pytest.raises(BadInput) as wrong:
        parse_measures(data, things, readable)
    assert str(wrong.value).startswith(told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (["status", "status"], "group_by: must be at most 3 fields, each once"),
        (["label", "code", "status", "active"], "group_by: must be at most 3 fields, each once"),
        (["code", "story"], "group_by[1]: unknown field"),
        (["details"], "group_by[0]: kind json makes no groups"),
    ],
)
def test_wrong_groups_are_named_by_place_and_rule(
    things: Collection, fields: list[str], told: str
) -> None:
    with pytest.raises(BadInput) as wrong:
        check_groups(fields, things, set(things.columns) - {"story"})
    assert str(wrong.value) == told
