"""A run followed for a client that asked to be told, over a real face, worker and Terraform. Not what the run does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from mcp import Client

from tests.support.agents import answer
from tests.support.house import House, fresh_name
from tests.support.onboarding import onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.mark.long
async def test_who_asks_for_progress_is_told_of_each_resource_and_answered_with_the_end(
    shared: House, agent: Agent
) -> None:
    tenant = fresh_name("followed")
    told: list[tuple[float, str]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async with agent(shared, shared.issue("operator", tenant)) as client:
        done = await client.call_tool(
            "tenant_onboard", onboarding(tenant), progress_callback=listen
        )
    answered = answer(done)
    assert answered["outcome"] == "done", answered
    assert answered["result"]["state"] == "active"
    assert [position for position, _ in told] == sorted({position for position, _ in told})
    assert any(message.endswith("create done") for _, message in told), told


@pytest.mark.long
async def test_who_asks_for_none_is_answered_at_once(shared: House, agent: Agent) -> None:
    tenant = fresh_name("unfollowed")
    async with agent(shared, shared.issue("operator", tenant)) as client:
        done = await client.call_tool("tenant_onboard", onboarding(tenant))
    assert (done.structured_content or {})["outcome"] == "running"


@pytest.mark.long
async def test_a_run_that_waits_for_a_human_is_followed_no_further(
    shared: House, agent: Agent
) -> None:
    tenant = fresh_name("waiting")
    told: list[float] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with agent(shared, shared.issue("operator", tenant)) as client:
        done = await client.call_tool(
            "tenant_onboard",
            onboarding(tenant, plan="team", isolation="silo"),
            progress_callback=listen,
        )
    assert (done.structured_content or {})["outcome"] == "awaiting_approval"
    assert told == []


async def test_a_dry_run_is_planned_once_and_not_again_for_being_followed(
    shared: House, agent: Agent
) -> None:
    tenant = fresh_name("foreseen")

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        raise AssertionError("nothing is done that could be told")

    async with agent(shared, shared.issue("operator", tenant)) as client:
        done = await client.call_tool(
            "tenant_onboard", onboarding(tenant, dry_run=True), progress_callback=listen
        )
        runs = answer(await client.call_tool("run_list", {"tenant": tenant}))
    assert answer(done)["outcome"] == "running"
    assert len(runs["result"]["runs"]) == 1
