"""The help desk sample over stdio by real clients: its rows loaded by the command, its rules as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from server.catalog import write_sample
from server.sample import chosen_rows
from tests.support.desks import TENANTS, opened_desk, run_command
from tests.support.house import House
from tests.support.record_lives import Life, Records, live

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Served = Callable[..., AbstractAsyncContextManager[Client]]
TENANT = "acme"
LOADED = 12
ROWS = chosen_rows(LOADED)
TICKETS, INVOICES = ROWS["tickets"], ROWS["invoices"]
OURS = {"op": "lt", "field": "number", "value": 1000}
LIFE = Life(
    rows=[
        {
            "number": 1000 + place,
            "kind": kind,
            "status": "open",
            "subject": f"Number {place}",
            "body": "Pages are cut off.",
            "assignee": "steve",
            "internal_note": None,
        }
        for place, kind in enumerate(("bug", "question", "bug", "bug", "question", "bug"))
    ],
    condition={
        "op": "and",
        "args": [
            {"op": "eq", "field": "kind", "value": "bug"},
            {"op": "ge", "field": "number", "value": 1000},
        ],
    },
    kept=lambda one: one["kind"] == "bug",
    sort="number",
    measure="number",
    change={"status": "closed", "resolved_on": "2026-03-01"},
)


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=pytest.mark.sweep) for one in ("sqlite", "postgres")],
)
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path
) -> Iterator[House]:
    """A desk with the first rows of each collection; agents have the tools of each collection."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    folder = tmp_path_factory.mktemp("desk")
    with opened_desk(
        folder, cerbos_binary, server, lambda place: write_sample(place, "helpdesk")
    ) as house:
        load(house)
        yield replace(house, collection_tools="each")


def load(house: House, rows_max: int = LOADED) -> None:
    token = house.issue("platform_admin", TENANT, principal="root", actor="loader")
    words = ("sample", "load", "--tenant", TENANT, "--rows-max", str(rows_max))
    code, said = run_command(house, *words, PAYBILL_TOKEN_FILE=str(token.file))
    assert code == 0, said
    counts = {name: len(rows) for name, rows in chosen_rows(rows_max).items()}
    assert "acme: " + ", ".join(f"{count} {name}" for name, count in counts.items()) in said


@pytest.fixture
def served(desk: House, agent: Agent) -> Served:
    """`served(role, principal, actor="bot")`: a client of the desk."""

    def serve(role: str, principal: str, actor: str = "bot") -> AbstractAsyncContextManager[Client]:
        return agent(desk, desk.issue(role, ",".join(TENANTS), principal=principal, actor=actor))

    return serve


def of(client: Client, collection: str) -> Records:
    return Records(client, TENANT, collection, "each")


async def counted(records: Records) -> int:
    (group,) = (await records.done("aggregate", measures=[{"op": "count"}], filter=OURS))["groups"]
    count: int = group["rows"]
    return count


async def test_loading_once_more_changes_nothing(desk: House, served: Served) -> None:
    load(desk, 4)
    async with served("platform_admin", "root") as client:
        assert await counted(of(client, "tickets")) == len(TICKETS)
        assert await counted(of(client, "invoices")) == len(INVOICES)


async def test_who_may_not_write_every_field_loads_nothing(desk: House, served: Served) -> None:
    token = desk.issue("support", "globex", principal="walter")
    words = ("sample", "load", "--tenant", "globex", "--token-file", str(token.file))
    code, said = run_command(desk, *words)
    assert (code, "customers 1 was not made" in said) == (1, True), said
    viewer = desk.issue("viewer", "globex", principal="jane")
    code, said = run_command(desk, *words[:-1], str(viewer.file))
    assert (code, "This token may not create records." in said) == (1, True), said


@pytest.mark.parametrize("tenant", [pytest.param("acme", marks=pytest.mark.sweep), "globex"])
async def test_a_ticket_lives_its_whole_life(served: Served, tenant: str) -> None:
    async with served("platform_admin", "root") as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert {"tickets_delete", "orders_create", "invoices_update"} <= listed
        assert not {"orders_update", "orders_delete", "invoices_delete", "record_query"} & listed
        customer = await Records(client, tenant, "customers", "each").made(
            number=1000,
            first_name="Michelle",
            last_name="Brooks",
            city="New York",
            country="USA",
            email="michelleb@example.com",
            account_manager="jane",
        )
        assert customer["full_name"] == "Michelle Brooks"
        rows = [{**row, "customer": customer["id"]} for row in LIFE.rows]
        await live(Records(client, tenant, "tickets", "each"), replace(LIFE, rows=rows))


async def test_support_sees_its_own_tickets_and_those_that_nobody_has(served: Served) -> None:
    own = [one for one in TICKETS if one["assignee"] in {"jane", "unassigned"}]
    assert 0 < len(own) < len(TICKETS)
    async with served("platform_admin", "root") as client:
        hidden = (await of(client, "tickets").done("query", filter=_of_steve()))["records"][0]
    async with served("support", "jane") as client:
        tickets = of(client, "tickets")
        found = (await tickets.done("query", sort="number", filter=OURS))["records"]
        assert [one["number"] for one in found] == [one["number"] for one in own]
        assert await counted(tickets) == len(own)
        assert found[0]["body"] == own[0]["body"]
        assert all("internal_note" not in one for one in found)
        never = "00000000-0000-0000-0000-000000000000"
        assert await tickets.call("get", id=hidden["id"]) == await tickets.call("get", id=never)
        unknown = {"op": "is_null", "field": "internal_note"}
        assert "internal_note" not in (told := await tickets.wrong("query", filter=unknown)), told


def _of_steve() -> dict[str, Any]:
    return {"op": "eq", "field": "assignee", "value": "steve"}


async def test_a_ticket_is_taken_but_not_handed_on(served: Served) -> None:
    async with served("support", "jane") as client:
        tickets = of(client, "tickets")
        free = {"op": "eq", "field": "assignee", "value": "unassigned"}
        one = (await tickets.done("query", filter=free, sort="-number"))["records"][0]
        asked = {"id": one["id"], "version": one["version"]}
        handed = await tickets.call("update", **asked, values={"assignee": "steve"})
        assert (handed["outcome"], handed["code"]) == ("refused", "row_denied")
        mine = {"assignee": "jane", "status": "pending"}
        planned = await tickets.call("update", **asked, values=mine, dry_run=True)
        assert planned["result"]["rows"]["before"]["assignee"] == "unassigned"
        taken = (await tickets.done("update", **asked, values=mine))["record"]
        assert mine.items() <= taken.items()
        back = {"assignee": "unassigned", "status": "open"}
        await tickets.done("update", id=one["id"], version=taken["version"], values=back)


async def test_finance_sees_all_invoices_and_of_tickets_no_word(served: Served) -> None:
    async with served("support", "nancy", "finance-bot") as client:
        tickets, invoices = of(client, "tickets"), of(client, "invoices")
        assert await counted(tickets) == len(TICKETS)
        found = (await tickets.done("query"))["records"]
        assert all("subject" in one and "body" not in one for one in found)
        measures = [{"op": "sum", "field": name} for name in ("total", "paid", "due")]
        asked = {"measures": measures, "group_by": ["status"]}
        groups = (await invoices.done("aggregate", **asked))["groups"]
        assert {one["by"]["status"]: one["rows"] for one in groups} == _by_status()
        assert sum(one["values"]["sum_total"] for one in groups) == _total()
        assert [one["values"]["sum_due"] for one in groups if one["by"]["status"] == "paid"] == [0]
        await refused_when_paid(invoices)
        denied = await tickets.call("update", id=found[0]["id"], version=1, values={"kind": "bug"})
        assert (denied["outcome"], denied["code"]) == ("refused", "row_denied")
    async with served("support", "jane") as client:
        found = (await of(client, "invoices").done("query"))["records"]
        assert {one["status"] for one in found} == {"open"}


def _by_status() -> dict[str, int]:
    states = [str(one["status"]) for one in INVOICES]
    return {state: states.count(state) for state in set(states)}


def _total() -> int:
    return sum(int(str(one["total"])) for one in INVOICES)


async def test_nobody_changes_a_paid_invoice(served: Served) -> None:
    async with served("platform_admin", "root") as client:
        await refused_when_paid(of(client, "invoices"))


async def refused_when_paid(invoices: Records) -> None:
    paid = {"op": "eq", "field": "status", "value": "paid"}
    one = (await invoices.done("query", filter=paid, limit=1))["records"][0]
    asked = {"id": one["id"], "version": one["version"], "values": {"total": 1}}
    denied = await invoices.call("update", **asked)
    assert (denied["outcome"], denied["code"]) == ("refused", "row_denied")


async def test_how_to_reach_a_customer_is_for_their_account_manager(served: Served) -> None:
    async with served("support", "jane") as client:
        customers = of(client, "customers")
        found = (await customers.done("query", filter=OURS, limit=LOADED))["records"]
        assert len(found) == LOADED
        assert {one["account_manager"] for one in found if "email" in one} == {"jane"}
        assert all(("email" in one) == (one["account_manager"] == "jane") for one in found)
        sorted_by_name = (await customers.done("query", sort="full_name"))["records"]
        assert {one["account_manager"] for one in sorted_by_name} == {"jane"}
        (other, *_) = (one for one in found if one["account_manager"] != "jane")
        asked = {"id": other["id"], "version": 1, "values": {"city": "Oslo"}}
        assert (await customers.call("update", **asked))["code"] == "row_denied"
