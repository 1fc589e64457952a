"""A bridge tenant over stdio: brought into being, its rows its own, the reference rows shared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client

from control_plane.data.collection import SAMPLES, load_collection
from tests.support.agents import call, run_until
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import ask, contact, onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]


async def onboarded(shared: House, agent: Agent, issue: Issue, isolation: str) -> str:
    """A new tenant of the isolation model, without an approval."""
    token = issue("operator", (tenant := fresh_name(isolation)))
    async with agent(shared, token) as client:
        asked = onboarding(tenant, plan="team", isolation=isolation)
        answered = await call(client, "tenant_onboard", **asked)
        assert answered["outcome"] == "running", answered
        await run_until(client, answered["run_id"], {"applied"})
        found = await call(client, "tenant_get", tenant=tenant)
    assert (found["result"]["state"], found["result"]["isolation"]) == ("active", isolation)
    return tenant


async def test_a_bridge_tenant_reads_the_reference_rows_and_writes_its_own(
    shared: House, agent: Agent, issue: Issue
) -> None:
    tenant = await onboarded(shared, agent, issue, "bridge")
    other = await onboarded(shared, agent, issue, "bridge")
    token = issue("support", f"{tenant},{other}")
    currency = {
        "tenant": tenant,
        "collection": "currencies",
        "values": {"code": "ZZZ", "title": "None", "minor_digits": 0},
        "idempotency_key": fresh_key(),
    }
    async with agent(shared, token) as client:
        digits = {"op": "eq", "field": "minor_digits", "value": 3}
        found = await call(
            client,
            "record_query",
            tenant=tenant,
            collection="currencies",
            filter=digits,
            sort="-code",
        )
        assert [row["code"] for row in found["result"]["records"]] == ["KWD", "BHD"]
        assert set(found["result"]["records"][0]) == {"id", "code", "title", "minor_digits"}
        for wrong in (currency, {**currency, "values": {}, "idempotency_key": fresh_key()}):
            refused = await call(client, "record_create", **wrong)
            assert refused["outcome"] == "refused", refused
            assert (refused["code"], refused["fact"]) == ("reference_read_only", "reference")
        mine = await call(
            client,
            "record_create",
            tenant=tenant,
            collection="contacts",
            values=contact(full_name="Mine"),
            idempotency_key=fresh_key(),
        )
        assert mine["outcome"] == "done", mine
        rows = {
            one: await call(client, "record_query", tenant=one, collection="contacts")
            for one in (tenant, other)
        }
    assert len(rows[tenant]["result"]["records"]) == 1
    assert rows[other]["result"]["records"] == []
    data = shared.workspace.data
    assert (data / "reference.db").stat().st_mode & 0o777 == 0o400
    assert (data / "bridge" / f"{tenant}.db").is_file()


@pytest.mark.long
@pytest.mark.parametrize("isolation", ["bridge", "pooled"])
async def test_reference_rows_come_page_by_page_in_each_model(
    shared: House, agent: Agent, issue: Issue, isolation: str
) -> None:
    tenant = await onboarded(shared, agent, issue, isolation)
    declared = load_collection(SAMPLES / "currencies.yaml").rows
    codes: list[str] = []
    cursor = None
    with shared.face(issue("support", tenant)) as face:
        for _ in declared:
            asked: dict[str, Any] = {"tenant": tenant, "collection": "currencies", "sort": "code"}
            page = ask(face, "record_query", **asked, limit=4, cursor=cursor)["result"]
            codes += [row["code"] for row in page["records"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert codes == [row["code"] for row in declared]
