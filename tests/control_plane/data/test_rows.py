"""Rows of one tenant: pages, single rows and changes; another tenant's are never there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, func, literal, select

from control_plane.data.collection import Collection
from control_plane.data.deadline import statement_deadline
from control_plane.data.filters import Comparison, Junction, Tree
from control_plane.data.rows import delete_row, get_row, insert_row, query_page, update_row
from control_plane.data.sort import Position, Sort, check_sort
from control_plane.errors import BadInput, Failed, NotFound, Refused

NOW = datetime(2024, 1, 1, tzinfo=UTC)
DEADLINE_MS = 10_000


def row_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def add(connection: Connection, table: Table, tenant: str, number: int, **values: Any) -> str:
    insert_row(connection, table, tenant, row_id(number), {"code": "a", **values}, now=NOW)
    return row_id(number)


EVERYTHING: list[Tree | None] = [
    None,
    Comparison("eq", "tenant_id", "other"),
    Comparison("is_null", "code", False),
    Junction("or", (Comparison("is_null", "code", False), Comparison("is_null", "code", True))),
    Junction("not", (Comparison("eq", "tenant_id", "acme"),)),
    Junction("or", (Comparison("eq", "tenant_id", "other"), Comparison("eq", "code", "a"))),
]


@pytest.mark.parametrize("predicate", EVERYTHING)
def test_no_filter_reaches_another_tenants_rows(
    connection: Connection, table: Table, predicate: Tree | None
) -> None:
    add(connection, table, "acme", 1)
    add(connection, table, "other", 2)
    for position in (None, Position(row_id(0), row_id(0))):
        page = query_page(
            connection, table, "acme", predicate, Sort(), 10, position, deadline_ms=DEADLINE_MS
        )
        assert all(row["tenant_id"] == "acme" for row in page.rows)


def test_another_tenants_row_is_absent_by_id(connection: Connection, table: Table) -> None:
    add(connection, table, "other", 1)
    assert get_row(connection, table, "acme", row_id(1)) is None
    with pytest.raises(NotFound):
        update_row(connection, table, "acme", row_id(1), {"label": "x"}, version=1)
    with pytest.raises(NotFound):
        delete_row(connection, table, "acme", row_id(1), version=1)
    standing = get_row(connection, table, "other", row_id(1))
    assert standing is not None
    assert standing["label"] is None


def test_two_tenants_may_have_the_same_id(connection: Connection, table: Table) -> None:
    add(connection, table, "acme", 1, label="ours")
    add(connection, table, "other", 1, label="theirs")
    ours = get_row(connection, table, "acme", row_id(1))
    assert ours is not None
    assert ours["label"] == "ours"


def test_a_change_needs_the_version_it_was_decided_on(connection: Connection, table: Table) -> None:
    add(connection, table, "acme", 1)
    assert update_row(connection, table, "acme", row_id(1), {"label": "x"}, version=1) == 2
    with pytest.raises(Refused) as stale:
        update_row(connection, table, "acme", row_id(1), {"label": "y"}, version=1)
    assert stale.value.code == "stale"
    with pytest.raises(Refused):
        delete_row(connection, table, "acme", row_id(1), version=1)
    delete_row(connection, table, "acme", row_id(1), version=2)
    assert get_row(connection, table, "acme", row_id(1)) is None


@pytest.mark.parametrize("name", ["id", "tenant_id", "version", "created_at"])
def test_an_implicit_field_is_not_the_callers_to_set(
    connection: Connection, table: Table, name: str
) -> None:
    add(connection, table, "acme", 1)
    with pytest.raises(BadInput, match=name):
        update_row(connection, table, "acme", row_id(1), {name: "other"}, version=1)
    with pytest.raises(BadInput, match=name):
        add(connection, table, "acme", 2, **{name: "other"})


def test_values_come_back_as_they_went_in(connection: Connection, table: Table) -> None:
    values = {"seen": NOW.replace(microsecond=1), "active": False, "balance": 2**53 - 1}
    add(connection, table, "acme", 1, **values)
    row = get_row(connection, table, "acme", row_id(1))
    assert row is not None
    assert {name: row[name] for name in values} == values
    assert row["created_at"] == NOW
    assert row["version"] == 1


COUNTS = st.lists(st.none() | st.integers(-2, 2), max_size=12)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    counts=COUNTS,
    limit=st.integers(1, 5),
    field=st.sampled_from(["id", "count"]),
    descending=st.booleans(),
)
def test_the_pages_are_all_the_rows_once_and_in_order(
    connection: Connection,
    table: Table,
    counts: list[int | None],
    limit: int,
    field: str,
    descending: bool,
) -> None:
    connection.execute(table.delete())
    for number, count in enumerate(counts):
        add(connection, table, "acme", number, count=count)
        add(connection, table, "other", number, count=count)
    sign = -1 if descending else 1

    def key(number: int) -> tuple[bool, int, int]:
        if field == "id":
            return (False, 0, sign * number)
        count = counts[number]
        return (count is None, sign * (count or 0), sign * number)

    expected = [row_id(number) for number in sorted(range(len(counts)), key=key)]
    assert walk(connection, table, Sort(field, descending=descending), limit) == expected


def walk(connection: Connection, table: Table, sort: Sort, limit: int) -> list[str]:
    found: list[str] = []
    position = None
    for _ in range(20):
        page = query_page(
            connection, table, "acme", None, sort, limit, position, deadline_ms=DEADLINE_MS
        )
        assert len(page.rows) <= limit
        found += [str(row["id"]) for row in page.rows]
        position = page.next
        if position is None:
            return found
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_limit_out_of_bounds_is_refused(connection: Connection, table: Table, limit: int) -> None:
    with pytest.raises(BadInput, match="limit"):
        query_page(connection, table, "acme", None, Sort(), limit, None, deadline_ms=1)


def test_a_statement_past_its_deadline_is_interrupted(connection: Connection) -> None:
    seed = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = seed.union_all(select(seed.c.n + 1))
    with (
        pytest.raises(Failed) as late,
        connection.begin_nested(),
        statement_deadline(connection, 30),
    ):
        connection.execute(select(func.count()).select_from(numbers))
    assert late.value.code == "statement_deadline"
    assert connection.execute(select(literal(1))).scalar_one() == 1


def test_only_a_readable_ordered_field_sorts(things: Collection) -> None:
    assert check_sort(Sort("count"), things, {"count"}) == Sort("count")
    told: list[str] = []
    for field in ("label", "missing"):
        with pytest.raises(BadInput) as caught:
            check_sort(Sort(field), things, {"count"})
        told.append(str(caught.value))
    assert told[0] == told[1]
    with pytest.raises(BadInput, match="no order"):
        check_sort(Sort("story"), things, things.columns)
