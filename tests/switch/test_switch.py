"""A catalog applied to a workspace that is at work: what every part of it then knows. Not under load."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import anyio.to_thread
import mcp_types as types
import pytest
from mcp import Client

from server.workspace import StoreKind
from tests.conftest import MakeHouse
from tests.support.agents import call, serve_parameters
from tests.support.forked import Start, forked_stdio
from tests.support.house import House, fresh_key
from tests.support.onboarding import contact, onboard
from tests.support.switching import Operator, add_collection, add_field
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
StartWorker = Callable[..., RunningWorker]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def house(request: pytest.FixtureRequest, workspace: MakeHouse) -> House:
    store: StoreKind = request.param
    return workspace(store=store, call_deadline_s="4")


@pytest.mark.sweep
async def test_a_face_that_is_open_answers_by_the_new_catalog_from_its_next_call(
    house: House, worker: StartWorker, agent: Agent
) -> None:
    worker(house)
    operator, sue = Operator.of(house), house.issue("support", "acme")
    with house.face(operator.token) as face:
        onboard(face, "acme")
    async with agent(house, sue) as client:
        made = await call(
            client,
            "record_create",
            tenant="acme",
            collection="contacts",
            values=contact(),
            idempotency_key=fresh_key(),
        )
        run = operator.apply(add_field("nickname", "{kind: string, nullable: true}"))
        assert run.state == "applied", run
        told = await call(client, "collection_describe", collection="contacts")
        assert "nickname" in str(told)
        changed = await call(
            client,
            "record_update",
            tenant="acme",
            collection="contacts",
            id=made["result"]["record"]["id"],
            version=1,
            values={"nickname": "Ada"},
            idempotency_key=fresh_key(),
        )
        assert changed["outcome"] == "done", changed
        assert changed["result"]["record"]["nickname"] == "Ada"


@pytest.mark.sweep
async def test_a_client_of_the_older_era_is_told_that_its_list_of_tools_has_changed(
    workspace: MakeHouse, worker: StartWorker
) -> None:
    house = replace(workspace(call_deadline_s="4"), collection_tools="each")
    worker(house)
    operator = Operator.of(house)
    heard: list[object] = []

    async def hear(message: object) -> None:
        heard.append(message)

    words = serve_parameters(house, operator.token).args[3:]
    start = Start(words, house.environment, house.workspace.root, house.folder / "face.log")
    async with Client(forked_stdio(start), mode="legacy", message_handler=hear) as client:
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.tools.list_changed
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "invoices_query" not in names
        await anyio.to_thread.run_sync(operator.apply, add_collection("invoices"))
        assert not heard
        await call(client, "whoami")
        assert any(isinstance(one, types.ToolListChangedNotification) for one in heard), heard
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "invoices_query" in names
