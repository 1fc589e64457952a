"""A subscription over a real face and a real worker: bought, changed, declined, ended and kept by an agent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client
from sqlalchemy import select

from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.store.billing_tables import invoice
from tests.support.agents import call, run_until
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import onboard

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]


async def moved(client: Client, tool: str, state: str = "applied", **asked: Any) -> dict[str, Any]:
    """Ask for a move under a key of its own, and follow it; the run."""
    told = await call(client, tool, **asked, idempotency_key=fresh_key())
    assert told["outcome"] == "running", told
    run = await run_until(client, told["run_id"])
    assert run["state"] == state, run
    return run


async def standing(client: Client, tenant: str) -> dict[str, Any]:
    """The subscription as it is told."""
    told: dict[str, Any] = (await call(client, "subscription_get", tenant=tenant))["result"]
    return told


def charged_minor(house: House, tenant: str) -> list[int]:
    """What the sandbox really took of a tenant, invoice by invoice."""
    with house.store() as store, store.read() as connection:
        mine = select(invoice.c.id).where(invoice.c.tenant == tenant).order_by(invoice.c.number)
        ids = list(connection.execute(mine).scalars())
    sandbox = SandboxProvider(house.workspace.sandbox_db)
    try:
        return [one.minor for name in ids for one in sandbox.charged(name)]
    finally:
        sandbox.close()


async def test_an_agent_buys_changes_ends_and_keeps_a_subscription(
    shared: House, agent: Agent, issue: Issue
) -> None:
    tenant = fresh_name("paying")
    token = issue("operator", tenant)
    with shared.face(token) as face:
        onboard(face, tenant)
    method = {"tenant": tenant, "provider": "sandbox"}
    async with agent(shared, token) as client:
        first: dict[str, Any] = {
            "tenant": tenant,
            "plan": "business",
            "currency": "EUR",
            "seats": 2,
        }
        without = await call(client, "subscription_change", **first, idempotency_key=fresh_key())
        assert (without["outcome"], without["code"]) == ("refused", "payment_method_required")
        assert "payment_method_set" in without["next_tools"]
        await moved(client, "payment_method_set", **method, reference="sandbox_ok")
        await moved(client, "subscription_change", **first)
        assert charged_minor(shared, tenant) == [4900 + 2 * 900]

        # An upgrade costs what its preview said, to the cent.
        wanted = {"tenant": tenant, "plan": "enterprise"}
        quoted = (await call(client, "subscription_preview_change", **wanted))["result"]
        kinds = {(one["kind"], one["reference"]) for one in quoted["lines"]}
        assert kinds == {
            ("proration_credit", "plan"),
            ("proration_credit", "seats"),
            ("proration_debit", "plan"),
        }

        # Declined, everything is as it was.
        await moved(client, "payment_method_set", **method, reference="sandbox_declined")
        before = await standing(client, tenant)
        run = await moved(client, "subscription_change", "compensated", **wanted)
        assert run["reason"] == "payment_declined"
        assert await standing(client, tenant) == before
        assert charged_minor(shared, tenant) == [6700]

        await moved(client, "payment_method_set", **method, reference="sandbox_ok")
        at = quoted["proration_at"]
        await moved(client, "subscription_change", **wanted, proration_at=at)
        assert charged_minor(shared, tenant) == [6700, quoted["due_minor"]]
        assert (await standing(client, tenant))["plan"] == "enterprise"
        assert (await call(client, "tenant_get", tenant=tenant))["result"]["plan"] == "enterprise"

        # Ended with its period, and kept after all.
        before = await standing(client, tenant)
        await moved(client, "subscription_cancel", tenant=tenant, ends="period_end")
        assert (await standing(client, tenant))["cancel_at_period_end"] is True
        await moved(client, "subscription_resume", tenant=tenant)
        assert await standing(client, tenant) == before
        assert charged_minor(shared, tenant) == [6700, quoted["due_minor"]]
