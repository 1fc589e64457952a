"""A suspended tenant is refused on the very next call, over a real face and a real worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client

from tests.support.agents import call, run_until
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import contact, onboard

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]
ROLES = "operator,support"


async def moved(client: Client, tool: str, tenant: str, **asked: Any) -> None:
    """Ask for a run, and wait until it has been carried out."""
    key = fresh_key()
    answered = await call(client, tool, tenant=tenant, idempotency_key=key, **asked)
    assert answered["outcome"] == "running", answered
    await run_until(client, answered["run_id"], {"applied"})


async def created(client: Client, tenant: str) -> dict[str, Any]:
    """The answer to one more record."""
    return await call(
        client,
        "record_create",
        tenant=tenant,
        collection="contacts",
        values=contact(),
        idempotency_key=fresh_key(),
    )


@pytest.mark.parametrize(
    ("access", "change", "read"),
    [
        pytest.param("read_only", "read_only", None, marks=pytest.mark.sweep),
        ("none", "access_suspended", "access_suspended"),
    ],
)
async def test_a_suspended_tenant_is_refused_on_the_next_call(
    shared: House, agent: Agent, issue: Issue, access: str, change: str, read: str | None
) -> None:
    token = issue(ROLES, (tenant := fresh_name("suspended")))
    with shared.face(token) as face:
        onboard(face, tenant)
    async with agent(shared, token) as client, agent(shared, token) as other:
        assert (await created(client, tenant))["outcome"] == "done"
        await moved(other, "tenant_suspend", tenant, reason="operator", access=access)

        refused = await created(client, tenant)
        assert (refused["outcome"], refused["code"]) == ("refused", change)
        assert "tenant_get" in refused["next_tools"]
        page = await call(client, "record_query", tenant=tenant, collection="contacts")
        assert page.get("code") == read
        assert page["outcome"] == ("done" if read is None else "refused")
        told = (await call(client, "tenant_get", tenant=tenant))["result"]
        assert (told["state"], told["access_mode"]) == ("suspended", access)
        assert told["suspend_reasons"] == ["operator"]

        await moved(other, "tenant_resume", tenant, reason="operator")
        assert (await created(client, tenant))["outcome"] == "done"
        page = await call(client, "record_query", tenant=tenant, collection="contacts")
        assert len(page["result"]["records"]) == 2


async def test_a_suspension_repeated_with_its_key_is_the_same_run(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue(ROLES, (tenant := fresh_name("repeated")))
    with shared.face(token) as face:
        onboard(face, tenant)
    asked = {"tenant": tenant, "reason": "quota", "idempotency_key": fresh_key()}
    async with agent(shared, token) as client:
        first = await call(client, "tenant_suspend", **asked)
        await run_until(client, first["run_id"], {"applied"})
        again = await call(client, "tenant_suspend", **asked)
        assert (again["outcome"], again["run_id"]) == ("done", first["run_id"])
        assert again["result"]["suspend_reasons"] == ["quota"]
        other = await call(client, "tenant_suspend", **(asked | {"idempotency_key": fresh_key()}))
    assert (other["outcome"], other["code"]) == ("refused", "already_suspended")


async def test_billing_is_no_reason_of_an_agents(shared: House, agent: Agent, issue: Issue) -> None:
    asked = {"tenant": "acme", "reason": "billing", "idempotency_key": fresh_key()}
    async with agent(shared, issue(ROLES, "acme")) as client:
        said = await client.call_tool("tenant_suspend", asked)
        told = await call(client, "tenant_get", tenant="acme")
    assert said.is_error
    assert told["result"]["state"] == "active"
