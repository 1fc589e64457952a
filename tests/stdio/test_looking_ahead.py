"""Invoices and what is to come, asked over a real face by a real client. Money is not for everybody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client

from server.workspace import StoreKind
from tests.conftest import MakeHouse
from tests.support.agents import call
from tests.support.billed_house import agreed
from tests.support.house import House, Token

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
NAMES = {"invoice_list", "invoice_get", "subscription_simulate"}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
async def test_invoices_are_read_and_the_months_ahead_foreseen(
    workspace: MakeHouse, worker: Callable[..., Any], agent: Agent, kind: StoreKind
) -> None:
    house: House = workspace(store=kind)
    worker(house)
    agreed(house, "acme", invoices=5)
    agreed(house, "globex", invoices=1)
    operator = house.issue("operator", "acme")
    viewer: Token = house.issue("viewer", "acme", principal="vic", actor="vic-bot")
    async with agent(house, operator) as client, agent(house, viewer) as looking:
        assert {tool.name for tool in (await client.list_tools()).tools} >= NAMES
        assert not {tool.name for tool in (await looking.list_tools()).tools} & NAMES

        found: list[str] = []
        after: str | None = None
        while True:
            page = await call(client, "invoice_list", tenant="acme", limit=2, after=after)
            found += [one["number"] for one in page["result"]["invoices"]]
            after = page["result"]["next_after"]
            if after is None:
                break
        assert found == [f"ACME-{n}" for n in (5, 4, 3, 2, 1)]

        newest = (await call(client, "invoice_list", tenant="acme"))["result"]["invoices"][0]
        told = (await call(client, "invoice_get", tenant="acme", invoice=newest["id"]))["result"]
        assert (told["number"], told["total"], told["due"]) == ("ACME-5", "EUR 67.00", "EUR 0.00")

        ahead = await call(client, "subscription_simulate", tenant="acme", months=3)
        assert ahead["outcome"] == "done"
        # Renewals wait for late usage: the third one's invoice is still a draft.
        assert [one["number"] for one in ahead["result"]["invoices"]][:2] == [
            "PLANNED-1",
            "PLANNED-2",
        ]
        assert ahead["result"]["invoices"][0]["total_minor"] == 6700

        theirs = [
            await call(client, "invoice_list", tenant="globex"),
            await call(client, "invoice_get", tenant="globex", invoice="globex_1"),
            await call(client, "invoice_get", tenant="acme", invoice="globex_1"),
            await call(client, "subscription_simulate", tenant="globex", months=1),
        ]
        assert [one["outcome"] for one in theirs] == ["not_found"] * 4
        assert len({str(one) for one in theirs}) == 1
