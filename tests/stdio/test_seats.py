"""Seats over a real face and a real worker, on SQLite and on Postgres: never over, and masked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from mcp import Client

from server.workspace import StoreKind
from tests.conftest import MakeHouse
from tests.support.agents import call
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import onboard
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]
ADA, BOB = "ada@example.com", "bob@example.com"


async def assigned(client: Client, tenant: str, holder: str) -> dict[str, Any]:
    """The answer to one assignment under a key of its own."""
    asked = {"tenant": tenant, "holder": holder, "idempotency_key": fresh_key()}
    return await call(client, "seat_assign", **asked)


@pytest.mark.long
async def test_seats_are_assigned_listed_and_released_by_a_real_client(
    shared: House, agent: Agent, issue: Issue
) -> None:
    tenant = fresh_name("seated")
    token = issue("operator", tenant)
    with shared.face(token) as face:
        onboard(face, tenant)
    viewer = issue("viewer", tenant, principal="vic", actor="vic-bot")
    stranger = issue("operator", "globex", principal="eve", actor="eve-bot")
    async with (
        agent(shared, token) as client,
        agent(shared, viewer) as looking,
        agent(shared, stranger) as outside,
    ):
        for holder, new in ((ADA, True), (ADA, False), (BOB, True)):
            told = await assigned(client, tenant, holder)
            assert (told["outcome"], told["result"]["new"]) == ("done", new)
        page = (await call(client, "seat_list", tenant=tenant))["result"]
        assert [one["holder"] for one in page["seats"]] == [ADA, BOB]
        assert (page["size"], page["assigned"], page["free"]) == (3, 2, 1)

        await assigned(client, tenant, "cyd")
        full = await assigned(client, tenant, "dan")
        assert (full["outcome"], full["code"]) == ("refused", "seats_full")
        assert "larger plan" in full["message"]
        assert "seat_release" in full["next_tools"]

        masked = (await call(looking, "seat_list", tenant=tenant))["result"]
        assert [one["holder"] for one in masked["seats"]] == [None, None, None]
        names = {tool.name for tool in (await looking.list_tools()).tools}
        assert "seat_list" in names
        assert not names & {"seat_assign", "seat_release"}
        for told in (
            await call(outside, "seat_list", tenant=tenant),
            await assigned(outside, tenant, ADA),
        ):
            assert told["outcome"] == "not_found"

        asked = {"tenant": tenant, "holder": ADA, "idempotency_key": fresh_key()}
        gone = await call(client, "seat_release", **asked)
        assert (gone["outcome"], gone["result"]["released"]) == ("done", True)
        again = await client.call_tool("seat_release", asked)
        assert again.meta is not None
        assert again.meta["paybill/replayed"] is True
        free = await call(client, "seat_release", **(asked | {"idempotency_key": fresh_key()}))
        assert (free["outcome"], free["result"]["released"]) == ("done", False)
        assert (await assigned(client, tenant, "dan"))["outcome"] == "done"


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
async def test_two_faces_at_once_fill_the_pool_to_the_last_seat(
    workspace: MakeHouse,
    worker: Callable[..., RunningWorker],
    agent: Agent,
    kind: StoreKind,
) -> None:
    house = workspace(store=kind)
    worker(house)
    token = house.issue("operator", "acme")
    with house.face(token) as face:
        onboard(face, "acme")
    seen: list[dict[str, Any]] = []
    async with agent(house, token) as one, agent(house, token) as other:
        async with anyio.create_task_group() as both:

            async def fill(client: Client, who: str) -> None:
                seen.extend([await assigned(client, "acme", f"{who}-{n}") for n in range(4)])

            both.start_soon(fill, one, "one")
            both.start_soon(fill, other, "other")
        page = (await call(other, "seat_list", tenant="acme"))["result"]
    outcomes = sorted((told["outcome"], told.get("code", "")) for told in seen)
    assert outcomes == [("done", "")] * 3 + [("refused", "seats_full")] * 5
    assert (page["assigned"], page["free"], len(page["seats"])) == (3, 0, 3)
