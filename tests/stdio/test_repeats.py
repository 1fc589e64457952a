"""The same call again: one effect, the call's present outcome, and nothing at all from a dry run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from mcp import Client
from sqlalchemy import func, select

from control_plane.store import tables
from tests.support.agents import answer, call, run_until
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import ask, contact, follow, onboard, onboarding, park

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]


def runs_of(house: House, tenant: str) -> int:
    """How many runs a tenant has had."""
    table = tables.run
    counted = select(func.count()).select_from(table).where(table.c.tenant == tenant)
    with house.store() as store, store.read() as connection:
        return int(connection.execute(counted).scalar_one())


async def test_the_same_call_twice_at_once_is_one_run(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("operator", (tenant := fresh_name()))
    asked = onboarding(tenant)
    seen: list[dict[str, Any]] = []
    async with (
        agent(shared, token) as one,
        agent(shared, token) as other,
        anyio.create_task_group() as both,
    ):

        async def ask_by(client: Client) -> None:
            seen.append(await call(client, "tenant_onboard", **asked))

        for client in (one, other, one, other):
            both.start_soon(ask_by, client)

    assert len({found["run_id"] for found in seen}) == 1
    assert runs_of(shared, tenant) == 1


@pytest.mark.long
async def test_the_same_record_twice_at_once_is_one_record(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("support", "acme")
    asked = {
        "tenant": "acme",
        "collection": "contacts",
        "values": contact(full_name=(name := fresh_name("Twice"))),
        "idempotency_key": fresh_key(),
    }
    async with (
        agent(shared, token) as one,
        agent(shared, token) as other,
        anyio.create_task_group() as both,
    ):
        for client in (one, other, one, other):
            both.start_soon(client.call_tool, "record_create", asked)

    with shared.face(token) as face:
        assert ask(face, "record_create", **asked)["outcome"] == "done"
        by_name = {"op": "eq", "field": "full_name", "value": name}
        found = ask(face, "record_query", tenant="acme", collection="contacts", filter=by_name)
        assert len(found["result"]["records"]) == 1


@pytest.mark.long
async def test_a_repeated_call_answers_with_its_present_outcome(
    shared: House, agent: Agent, issue: Issue
) -> None:
    tenant = fresh_name()
    asked = onboarding(tenant)
    async with agent(shared, issue("operator", tenant)) as client:
        first = await client.call_tool("tenant_onboard", asked)
        run_id = answer(first)["run_id"]
        await run_until(client, run_id, {"applied"})
        again = [await client.call_tool("tenant_onboard", asked) for _ in range(2)]

    assert answer(first)["outcome"] == "running"
    assert not (first.meta or {}).get("paybill/replayed")
    for one in again:
        assert answer(one)["outcome"] == "done"
        assert answer(one)["run_id"] == run_id
        assert answer(one)["result"]["state"] == "active"
        assert (one.meta or {})["paybill/replayed"] is True
    assert answer(again[0]) == answer(again[1])
    assert runs_of(shared, tenant) == 1


def test_a_key_used_with_other_arguments_is_refused(shared: House, issue: Issue) -> None:
    asked = {
        "tenant": "acme",
        "collection": "contacts",
        "values": contact(),
        "idempotency_key": fresh_key(),
    }
    with shared.face(issue("support", "acme")) as face:
        first = ask(face, "record_create", **asked)
        other = ask(face, "record_create", **{**asked, "values": contact(balance=6)})
        again = ask(face, "record_create", **asked)

    assert first["outcome"] == "done"
    assert (other["outcome"], other["code"]) == ("refused", "idempotency_key_reused")
    assert again["result"] == first["result"]


def test_a_repeat_after_revocation_tells_nothing(shared: House, issue: Issue) -> None:
    token, tenant = issue("operator", (name := fresh_name())), name
    asked = onboarding(tenant)
    with shared.face(token) as face:
        assert "run_id" in ask(face, "tenant_onboard", **asked)
        shared.revoke(token)
        assert "run_id" not in ask(face, "tenant_onboard", **asked)


@pytest.mark.long
def test_a_dry_run_of_an_onboarding_plans_and_leaves_no_tenant(shared: House, issue: Issue) -> None:
    tenant = fresh_name()
    asked = onboarding(tenant)
    with shared.face(issue("operator", tenant)) as face:
        dry = ask(face, "tenant_onboard", **asked, dry_run=True)
        run = follow(face, dry["run_id"], {"discarded"})
        absent = ask(face, "tenant_get", tenant=tenant)
        real = face.front.call("tenant_onboard", asked).outcome
        assert real is not None
        follow(face, real.run_id or "", {"applied"})

    assert run["reason"] == "dry_run"
    assert run["plan_digest"]
    assert absent["outcome"] == "not_found"
    # A dry run neither reads nor writes keys: the same key is free for the change itself.
    assert real.run_id != dry["run_id"]
    assert not real.replayed


def test_a_dry_run_of_a_record_plans_and_leaves_no_record(shared: House, issue: Issue) -> None:
    name = fresh_name("Dry")
    asked = {
        "tenant": "acme",
        "collection": "contacts",
        "values": contact(full_name=name),
        "idempotency_key": fresh_key(),
    }
    by_name = {"op": "eq", "field": "full_name", "value": name}
    before = shared.effects_at_rest()
    with shared.face(issue("support", "acme")) as face:
        dry = ask(face, "record_create", **asked, dry_run=True)
        after = shared.effects()
        found = ask(face, "record_query", tenant="acme", collection="contacts", filter=by_name)
        real = face.front.call("record_create", asked).outcome

    assert dry["outcome"] == "planned"
    assert dry["result"]["rows"]["after"]["full_name"] == name
    assert len(dry["plan_digest"]) == 64
    assert found["result"]["records"] == []
    assert after == before
    assert real is not None
    assert (real.outcome, real.replayed) == ("done", False)


def test_a_dry_run_of_a_cancellation_leaves_the_run_as_it_is(shared: House, issue: Issue) -> None:
    with shared.face(issue("operator", (tenant := fresh_name()))) as face:
        run_id = park(face, tenant)["run_id"]
        asked = {"run_id": run_id, "idempotency_key": fresh_key()}
        assert ask(face, "run_cancel", **asked, dry_run=True)["outcome"] == "planned"
        run = ask(face, "run_get", run_id=run_id)["result"]
        assert (run["state"], run["cancel_requested"]) == ("awaiting_approval", False)


def test_a_conflict_names_the_run_that_holds_the_tenant(shared: House, issue: Issue) -> None:
    tenant = fresh_name()
    with shared.face(issue("operator", tenant)) as face:
        holder = park(face, tenant)["run_id"]
        found = ask(face, "tenant_onboard", **onboarding(tenant))

    assert (found["outcome"], found["run_id"]) == ("conflict", holder)
    assert runs_of(shared, tenant) == 1


@pytest.mark.long
def test_a_refused_call_keeps_no_key(shared: House, issue: Issue) -> None:
    tenant = fresh_name()
    with shared.face(issue("operator", tenant)) as face:
        onboard(face, tenant)
        key = fresh_key()
        before = shared.rows(tables.idempotency)
        for plan in ("free", "team"):
            asked = onboarding(tenant, plan=plan, idempotency_key=key)
            assert ask(face, "tenant_onboard", **asked)["code"] == "tenant_exists"
        assert shared.rows(tables.idempotency) == before
