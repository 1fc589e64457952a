"""A page is found by an index in its own order, on both engines: the plan is asked for, never the time.

On Postgres as a tenant's role under row security, in the database that all tenants share, where the
planner has no statistics of any column.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from sqlalchemy import Connection, String, Table, case, event, literal, text

from control_plane.data.collection import Collection
from control_plane.data.deadline import statement_deadline
from control_plane.data.filters import parse_filter
from control_plane.data.index_use import found_by_index
from control_plane.data.rows import get_row, query_page
from control_plane.data.sort import Position, Sort
from control_plane.data.tables import collection_table
from control_plane.databases.port import DatabaseEngine
from control_plane.databases.postgres_names import Names
from control_plane.databases.sqlite import SqliteDatabases
from tests.support.many_rows import Number, fill, text_of
from tests.support.rows import row_id
from tests.support.tenants import TenantServer, tenant_server

ROWS: Final = 20_000
TENANT, NEIGHBOUR = "acme", "neighbour"
STATEMENT_MS: Final = 30_000
QUEUE: Final = Collection.model_validate_json(
    """{"name": "queue", "description": "What waits.", "fields": {
        "title": {"kind": "string", "max_length": 40},
        "status": {"kind": "enum", "values": ["open", "closed"]},
        "priority": {"kind": "integer"},
        "rank": {"kind": "integer", "nullable": true},
        "seen": {"kind": "timestamp"},
        "price": {"kind": "decimal", "precision": 8, "scale": 2},
        "owner": {"kind": "string", "max_length": 40, "nullable": true}},
      "indexes": [["title"], ["priority"], ["rank"], ["seen"], ["price"], ["status", "priority"]]}"""
)
OPEN: Final = {"op": "eq", "field": "status", "value": "open"}
OWN: Final = {"op": "eq", "field": "owner", "value": "o3"}
SEEN: Final = datetime(2024, 1, 1, tzinfo=UTC)


def waiting(n: Number) -> Mapping[str, Any]:
    """Row n: many have a priority in common, a third has no rank."""
    return {
        "title": text_of("t", n * 7919 % 100_003),
        "status": case((n % 2 == 0, literal("open", String)), else_=literal("closed", String)),
        "priority": n * 31 % 100,
        "rank": case((n % 3 == 0, None), else_=n % 500),
        "seen": literal(SEEN, collection_table(QUEUE).c.seen.type),
        "price": literal(Decimal(3), collection_table(QUEUE).c.price.type),
        "owner": case((n % 5 == 0, None), else_=text_of("o", n % 50)),
    }


@dataclass(frozen=True)
class Plan:
    """One statement's plan: the indexes it uses, and the engine's own account of it."""

    indexes: tuple[str, ...]
    told: str
    sorts: bool
    reads_all: bool
    sought: str
    """What is looked for in the index; the rest is read and thrown away."""


@dataclass(frozen=True)
class Place:
    """One tenant's connection, and how a plan is asked for on it."""

    connection: Connection
    table: Table
    has_counted: bool
    """Whether the engine knows how often a value comes, or always believes that it is rare."""

    @property
    def is_postgres(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    def page(
        self, sort: Sort, *, behind: Position | None = None, rule: object = None
    ) -> list[Plan]:
        """The plans of the statements of one page."""
        tree = None if rule is None else parse_filter(rule, QUEUE, QUEUE.columns)
        with self._kept() as sent:
            query_page(
                self.connection,
                self.table,
                TENANT,
                tree,
                sort,
                20,
                behind,
                deadline_ms=STATEMENT_MS,
            )
        return [self.explained(*one) for one in sent]

    def one_row(self) -> Plan:
        with self._kept() as sent:
            assert get_row(self.connection, self.table, TENANT, row_id(7)) is not None
        return self.explained(*sent[0])

    def explained(self, statement: str, parameters: Any) -> Plan:
        explain = "EXPLAIN (FORMAT JSON) " if self.is_postgres else "EXPLAIN QUERY PLAN "
        found = self.connection.exec_driver_sql(explain + statement, parameters).all()
        return _of_postgres(found[0][0]) if self.is_postgres else _of_sqlite(found)

    @contextmanager
    def _kept(self) -> Generator[list[tuple[str, Any]]]:
        sent: list[tuple[str, Any]] = []

        def keep(_c: Any, _k: Any, statement: str, parameters: Any, *_: Any) -> None:
            if "FROM queue" in statement:
                sent.append((statement, parameters))

        event.listen(self.connection, "before_cursor_execute", keep)
        try:
            yield sent
        finally:
            event.remove(self.connection, "before_cursor_execute", keep)


def _of_sqlite(found: Any) -> Plan:
    lines = [str(row[-1]) for row in found]
    using = [line.partition("USING INDEX ")[2] for line in lines if "USING INDEX " in line]
    return Plan(
        indexes=tuple(one.split(" ")[0] for one in using),
        told="; ".join(lines),
        sorts=any("TEMP B-TREE" in line for line in lines),
        reads_all=any(line.startswith("SCAN") for line in lines),
        sought=" ".join(one.partition(" ")[2] for one in using),
    )


def _of_postgres(found: Any) -> Plan:
    nodes = list(_nodes(found[0]["Plan"]))
    kinds = {str(node["Node Type"]) for node in nodes}
    return Plan(
        indexes=tuple(str(node["Index Name"]) for node in nodes if "Index Name" in node),
        told=json.dumps(found),
        sorts=bool(kinds & {"Sort", "Incremental Sort"}),
        reads_all=bool(kinds & {"Seq Scan", "Bitmap Heap Scan"}),
        sought=" ".join(str(node.get("Index Cond", "")) for node in nodes),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


@contextmanager
def _filled(databases: DatabaseEngine) -> Generator[None]:
    for tenant in (TENANT, NEIGHBOUR):
        databases.create(tenant, "pooled", [QUEUE], 1)
        with databases.transaction(tenant, "pooled") as connection:
            fill(connection, collection_table(QUEUE), tenant, ROWS, waiting)
    yield


@pytest.fixture(scope="module")
def on_a_server(request: pytest.FixtureRequest) -> Iterator[TenantServer]:
    """Two tenants' rows in the shared database, analysed by the owner."""
    with (
        tenant_server(request.getfixturevalue("postgres")) as server,
        server.engine(statement_ms_max=STATEMENT_MS) as databases,
        _filled(databases),
    ):
        with server.raw(server.owner, Names(server.prefix).shared) as raw:
            raw.execute("ANALYZE pooled.queue")
        yield server


@pytest.fixture(
    scope="module",
    params=["sqlite analysed", "postgres", pytest.param("sqlite", marks=pytest.mark.sweep)],
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param.startswith("sqlite"):
            databases: DatabaseEngine = SqliteDatabases(tmp_path_factory.mktemp("plans"), 5_000)
            stack.callback(databases.close)
            stack.enter_context(_filled(databases))
            if request.param == "sqlite analysed":
                with databases.transaction(TENANT, "pooled") as connection:
                    connection.execute(text("ANALYZE"))
        else:
            server: TenantServer = request.getfixturevalue("on_a_server")
            databases = stack.enter_context(
                server.engine(as_face=True, statement_ms_max=STATEMENT_MS)
            )
        connection = stack.enter_context(databases.reading(TENANT, "pooled"))
        yield Place(connection, collection_table(QUEUE), request.param != "sqlite")


LAST: Final = row_id(ROWS // 2)
VALUES: Final[dict[str, Any]] = {"title": "t500", "priority": 50, "rank": 250, "seen": SEEN}
SORTS: Final = [Sort(name, way) for name in ("id", *VALUES) for way in (False, True)]
BEHIND: Final = [(one, Position(VALUES.get(one.field, LAST), LAST)) for one in SORTS]


def _named(plan: Plan, field: str) -> bool:
    keys = ("sqlite_autoindex_queue", "queue_pkey") if field == "id" else (f"queue_{field}_",)
    return len(plan.indexes) == 1 and any(key in plan.indexes[0] for key in keys)


@pytest.mark.slice_of(4)
@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_the_first_page_walks_an_index_in_its_own_order(place: Place, sort: Sort) -> None:
    for plan in place.page(sort):
        assert _named(plan, sort.field), plan.told
        assert not plan.sorts, plan.told
        assert not plan.reads_all, plan.told
        assert "tenant_id" in plan.sought


@pytest.mark.parametrize(("sort", "behind"), BEHIND, ids=str)
def test_a_page_behind_a_cursor_begins_where_the_last_one_ended(
    place: Place, sort: Sort, behind: Position
) -> None:
    plan, *_ = place.page(sort, behind=behind)

    assert _named(plan, sort.field), plan.told
    assert not plan.sorts, plan.told
    if sort.field == "id":
        sought: tuple[str, ...] = ("id>", "id<", "(id)::text >", "(id)::text <")
    else:
        # As a pair with the id: neither ties nor what lies before is read.
        sought = (f"({sort.field},id)", f"ROW({sort.field}, ", f"ROW(({sort.field})::text, ")
    assert any(one in plan.sought for one in sought), plan.told


@pytest.mark.parametrize("descending", [False, True])
def test_rows_without_a_value_are_sought_by_the_same_index(place: Place, descending: bool) -> None:
    (plan,) = place.page(Sort("rank", descending), behind=Position(None, LAST))

    assert _named(plan, "rank"), plan.told
    assert not plan.sorts, plan.told
    assert "id" in plan.sought.partition("rank")[2], plan.told


@pytest.mark.parametrize("descending", [False, True])
def test_a_filter_and_a_sort_that_one_index_has_are_one_walk(
    place: Place, descending: bool
) -> None:
    (plan,) = place.page(Sort("priority", descending), rule=OPEN)

    assert "queue_status_priority_" in plan.indexes[0], plan.told
    assert not plan.sorts, plan.told
    assert "status" in plan.sought, plan.told


@pytest.mark.parametrize("sort", [Sort(), Sort("priority", True)], ids=str)
@pytest.mark.parametrize("rule", [OWN, {"op": "or", "args": [OPEN, OWN]}], ids=["one", "several"])
def test_a_rule_that_no_index_answers_is_asked_of_each_row_on_the_way(
    place: Place, sort: Sort, rule: object
) -> None:
    (plan,) = place.page(sort, rule=rule)

    assert _named(plan, sort.field), plan.told
    assert not plan.sorts, plan.told
    assert not plan.reads_all, plan.told


def test_a_value_that_few_rows_have_is_found_by_its_index_unless_the_engine_prefers_the_order(
    place: Place,
) -> None:
    (plan,) = place.page(Sort("priority"), rule={"op": "eq", "field": "title", "value": "t7919"})

    # SQLite takes two columns of an index for hardly more telling than one until it has counted.
    assert _named(plan, "title" if place.has_counted else "priority"), plan.told


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (OPEN, True),
        (OWN, False),
        ({"op": "eq", "field": "id", "value": LAST}, True),
        ({"op": "in", "field": "title", "value": ["a"]}, True),
        ({"op": "ne", "field": "title", "value": "a"}, False),
        ({"op": "is_null", "field": "rank", "value": True}, False),
        ({"op": "not", "args": [OPEN]}, False),
        ({"op": "and", "args": [OWN, OPEN]}, True),
        ({"op": "or", "args": [OWN, OPEN]}, False),
        ({"op": "or", "args": [OPEN, {"op": "gt", "field": "priority", "value": 9}]}, True),
    ],
    ids=str,
)
def test_a_filter_is_answered_by_an_index_when_each_row_that_it_leaves_is_in_one(
    rule: object, found: bool
) -> None:
    tree = parse_filter(rule, QUEUE, QUEUE.columns)

    assert found_by_index(tree, collection_table(QUEUE)) is found


def test_without_a_filter_there_is_only_the_order() -> None:
    assert not found_by_index(None, collection_table(QUEUE))


def test_one_row_is_found_by_its_key(place: Place) -> None:
    plan = place.one_row()

    assert _named(plan, "id"), plan.told
    assert "id" in plan.sought.partition("tenant_id")[2], plan.told


def test_a_sort_that_no_index_has_is_a_sort_of_the_tenants_rows_alone(place: Place) -> None:
    plan, *_ = place.page(Sort("owner"))

    assert plan.sorts, plan.told
    assert "tenant_id" in plan.sought, plan.told
    assert not plan.reads_all, plan.told


def test_a_decimal_is_sought_by_its_index_where_comparing_it_is_known_to_tell_nothing(
    place: Place,
) -> None:
    (plan,) = place.page(Sort("price"), behind=Position(Decimal(3), LAST))

    assert _named(plan, "price"), plan.told
    assert not plan.sorts, plan.told
    # Postgres does not vouch for its comparison of numerics: under row security it is asked of each
    # row on the way, and what lies before the page is read and thrown away.
    assert ("price" in plan.sought) is not place.is_postgres, plan.told


def test_what_holds_in_a_session_already_is_not_said_again(on_a_server: TenantServer) -> None:
    with (
        on_a_server.engine(as_face=True, statement_ms_max=STATEMENT_MS) as databases,
        databases.reading(TENANT, "pooled") as connection,
    ):
        place = Place(connection, collection_table(QUEUE), has_counted=True)
        sent = list[str]()
        event.listen(connection, "before_cursor_execute", lambda *told: sent.append(told[2]))
        held: list[tuple[str, str]] = []
        for deadline_ms, in_order in ((STATEMENT_MS, True), (7_000, False), (7_000, False)):
            with statement_deadline(connection, deadline_ms, in_order=in_order):
                shown = connection.exec_driver_sql(
                    "SELECT current_setting('statement_timeout'), current_setting('enable_sort')"
                ).one()
                held.append((shown[0], shown[1]))
        said = [one for one in sent if "set_config" in one]
        place.page(Sort())

    assert held == [("30s", "off"), ("7s", "on"), ("7s", "on")]
    assert len(said) == 1
    assert len([one for one in sent if "set_config" in one]) == 2


def test_in_a_shared_database_the_planner_knows_the_table_and_none_of_its_columns(
    on_a_server: TenantServer,
) -> None:
    with on_a_server.raw(on_a_server.owner, Names(on_a_server.prefix).shared) as raw:
        known = raw.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'queue'").fetchone()
        size = raw.execute("SELECT reltuples FROM pg_class WHERE relname = 'queue'").fetchone()

    assert known == (0,)
    assert size is not None
    assert size[0] > ROWS
