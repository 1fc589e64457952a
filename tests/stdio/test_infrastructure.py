"""Infrastructure over a real face, worker and Terraform: a stack is made, followed, looked at, meddled with and repaired."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client

from tests.support.agents import call, run_until
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]
ADDRESS = "terraform_data.membership"


def meddle(house: House, tenant: str) -> None:
    """Have Terraform's state say that the tenant's stack was made with another value."""
    state = house.workspace.terraform / tenant / "pooled" / "terraform.tfstate"
    told = json.loads(state.read_text())
    (resource,) = told["resources"]
    resource["instances"][0]["attributes"]["input"]["value"]["region"] = "meddled"
    state.write_text(json.dumps(told))


async def carried_out(client: Client, tool: str, tenant: str) -> dict[str, Any]:
    """Ask for a run, follow it to its end, and take the result of the same call then."""
    asked = {"tenant": tenant, "idempotency_key": fresh_key()}
    answered = await call(client, tool, **asked)
    assert answered["outcome"] == "running", answered
    await run_until(client, answered["run_id"], {"applied"})
    done = await call(client, tool, **asked)
    assert (done["outcome"], done["run_id"]) == ("done", answered["run_id"])
    return dict(done["result"])


async def stands(client: Client, tenant: str) -> dict[str, Any]:
    """The tenant's only stack, as the list tells of it."""
    (told,) = (await call(client, "infrastructure_list", tenant=tenant))["result"]["stacks"]
    return dict(told)


async def test_a_stack_is_made_followed_looked_at_and_repaired(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("operator", (tenant := fresh_name("stacked")))
    async with agent(shared, token) as client:
        asked = await call(client, "tenant_onboard", **onboarding(tenant))
        run_id = asked["run_id"]
        await run_until(client, run_id, {"applied"})

        plan = (await call(client, "run_plan", run_id=run_id))["result"]
        assert f"  + create {ADDRESS}" in plan["text"].splitlines()
        log = (await call(client, "run_log", run_id=run_id))["result"]
        assert log["over"]
        assert {one["name"] for one in log["steps"]} >= {"provision", "verify"}
        assert [(one["address"], one["stage"]) for one in log["events"]] == [
            (ADDRESS, "started"),
            (ADDRESS, "done"),
        ]
        told = await stands(client, tenant)
        assert (told["state"], told["run_id"], told["checked_at"]) == ("stands", run_id, None)
        assert told["resources"] == [ADDRESS]
        cost = (await call(client, "cost_estimate", tenant=tenant))["result"]
        assert (cost["run_id"], cost["unpriced"]) == (run_id, [])

        assert (await carried_out(client, "drift_check", tenant))["drifted"] is False
        meddle(shared, tenant)
        found = await carried_out(client, "drift_check", tenant)
        drifted = {"address": ADDRESS, "actions": ["update"], "attributes": ["input", "output"]}
        assert (found["drifted"], found["resources"]) == (True, [drifted])
        assert (await stands(client, tenant))["state"] == "drifted"

        repaired = await carried_out(client, "drift_repair", tenant)
        assert (repaired["state"], repaired["resources"]) == ("stands", [ADDRESS])
        assert (await carried_out(client, "drift_check", tenant))["drifted"] is False
        asked = {"tenant": tenant, "idempotency_key": fresh_key()}
        again = await call(client, "drift_repair", **asked)
        run = await run_until(client, again["run_id"], {"discarded"})
        assert run["reason"] == "no_changes"
