"""What a call costs does not depend on how many rows there are: statements and questions, never time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import String, case, literal

from control_plane.data.tables import collection_table
from server.catalog import load
from server.wiring import Face
from tests.support.costs import Cost, counted
from tests.support.house import House, build_house
from tests.support.many_rows import Number, fill, text_of
from tests.support.onboarding import ask, onboard
from tests.support.postgres import raze
from tests.support.rows import row_id
from tests.support.workers import running_worker

CATALOG: Final = Path(__file__).parents[2] / "support" / "ruled_catalog"
TENANT, NEIGHBOUR = "acme", "neighbour"
FEW, MANY = 10, 5_000
PAGE: Final = 5
CALLS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "a page": ("record_query", {"limit": PAGE}),
    "a page by another field": ("record_query", {"limit": PAGE, "sort": "-priority"}),
    "a page by a field that may be missing": ("record_query", {"limit": PAGE, "sort": "owner"}),
    "a page of what a filter leaves": (
        "record_query",
        {"limit": PAGE, "filter": {"op": "eq", "field": "status", "value": "open"}},
    ),
    "one record": ("record_get", {"id": row_id(2)}),
    "a count": ("record_aggregate", {"collection": "orders", "measures": [{"op": "count"}]}),
    "sums by group": (
        "record_aggregate",
        {
            "collection": "orders",
            "measures": [{"op": "sum", "field": "amount"}],
            "group_by": ["status"],
        },
    ),
}


def ticket(n: Number) -> Mapping[str, Any]:
    """One that the supporter sees, whatever its number."""
    return {
        "title": text_of("t", n),
        "status": literal("open", String),
        "priority": n % 7,
        "owner": case((n % 5 == 0, None), else_=literal("sam", String)),
    }


def order(n: Number) -> Mapping[str, Any]:
    """One that the supporter sees, and no rule over it reads what may be missing."""
    return {
        "status": case((n % 2 == 0, literal("paid", String)), else_=literal("placed", String)),
        "region": literal("north", String),
        "amount": n,
        "buyer": text_of("b", n),
    }


ROWS: Final = {"tickets": ticket, "orders": order}


@dataclass(frozen=True)
class Desk:
    """A supporter before one tenant's tickets, of which there may be more and more."""

    house: House
    face: Face

    def add(self, tenant: str, first: int, last: int) -> None:
        declared = load(self.house.workspace.root / "catalog").collections
        with self.face.databases.main.transaction(tenant, "pooled") as connection:
            for name, values in ROWS.items():
                table = collection_table(declared[name])
                fill(connection, table, tenant, last, values, first=first)

    def ask(self, tool: str, **more: Any) -> dict[str, Any]:
        answered = ask(self.face, tool, **{"tenant": TENANT, "collection": "tickets", **more})
        assert answered["outcome"] == "done", answered
        result: dict[str, Any] = answered["result"]
        return result


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)]
)
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path
) -> Iterator[Desk]:
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    folder = tmp_path_factory.mktemp("cost")
    house = build_house(folder, cerbos_binary, postgres=server, catalog=CATALOG)
    with ExitStack() as stack:
        if server is not None:
            stack.callback(raze, server, house.workspace.id)
        stack.enter_context(running_worker(house))
        both = f"{TENANT},{NEIGHBOUR}"
        founder = stack.enter_context(house.face(house.issue("operator", both)))
        for tenant in (TENANT, NEIGHBOUR):
            onboard(founder, tenant)
        sam = house.issue("support", TENANT, principal="sam", actor="sam-bot")
        yield Desk(house, stack.enter_context(house.face(sam)))


@pytest.fixture(scope="module")
def costs(desk: Desk) -> dict[int, dict[str, Cost]]:
    """Of each call at ten rows, and at five thousand with as many of another tenant's around."""
    found: dict[int, dict[str, Cost]] = {}
    with pytest.MonkeyPatch.context() as patch:
        desk.add(TENANT, 1, FEW)
        found[FEW] = _costs(desk, patch)
        desk.add(TENANT, FEW + 1, MANY)
        desk.add(NEIGHBOUR, 1, MANY)
        found[MANY] = _costs(desk, patch)
    return found


def _costs(desk: Desk, patch: pytest.MonkeyPatch) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    # The first call about a tenant makes the key that its leaves are sealed to.
    cursor = desk.ask("record_query", limit=PAGE)["next_cursor"]
    behind = ("record_query", {"limit": PAGE, "cursor": cursor})
    for name, (tool, asked) in {**CALLS, "a page behind a cursor": behind}.items():
        desk.ask(tool, **asked)
        with counted(desk.face, patch) as cost:
            result = desk.ask(tool, **asked)
        assert len(result.get("records", [None] * PAGE)) == PAGE
        found[name] = cost
    return found


@pytest.mark.long_but_one
@pytest.mark.slice_of(3)
@pytest.mark.parametrize("call", [*CALLS, "a page behind a cursor"])
def test_a_call_costs_the_same_at_ten_rows_and_at_five_thousand(
    costs: dict[int, dict[str, Cost]], call: str
) -> None:
    assert costs[FEW][call].statements > 0
    assert costs[MANY][call] == costs[FEW][call]


def test_a_page_asks_three_questions_and_no_more(costs: dict[int, dict[str, Cost]]) -> None:
    # The tool and the collection, the plan over rows, the page.
    assert {name: cost.questions for name, cost in costs[MANY].items()} == {
        **dict.fromkeys(CALLS, 3),
        "a page behind a cursor": 3,
        "one record": 2,
        "a count": 2,
        "sums by group": 2,
    }


def test_a_page_of_a_hundred_asks_what_a_page_of_five_asks(
    desk: Desk, costs: dict[int, dict[str, Cost]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(desk.face, monkeypatch) as cost:
        assert len(desk.ask("record_query", limit=100)["records"]) == 100
    assert cost == costs[MANY]["a page"]
