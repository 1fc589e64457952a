"""What a client of either protocol era sees: the list, the call, the shapes, the unknown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import jsonschema
import mcp_types as types
import pytest
from mcp import Client, MCPError

from tests.support.agents import ERAS, answer, call, run_until, spawned
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import contact, onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]

OPERATOR_TOOLS = {
    "whoami",
    "plan_list",
    "tenant_list",
    "tenant_get",
    "subscription_get",
    "tenant_onboard",
    "tenant_suspend",
    "tenant_resume",
    "tenant_offboard",
    "tenant_restore",
    "run_get",
    "run_list",
    "run_cancel",
    "approval_get",
    "approval_list",
    "seat_list",
    "seat_assign",
    "seat_release",
    "usage_record",
    "quota_reserve",
    "quota_release",
    "usage_summary",
    "entitlement_check",
    "subscription_preview_change",
    "subscription_change",
    "subscription_cancel",
    "subscription_pause",
    "subscription_resume",
    "payment_method_set",
    "billing_details_set",
    "payment_retry",
    "invoice_list",
    "invoice_get",
    "subscription_simulate",
    "infrastructure_list",
    "stack_list",
    "run_plan",
    "run_log",
    "cost_estimate",
    "drift_check",
    "drift_repair",
    "database_list",
    "database_get",
    "database_backup",
    "database_restore",
    "database_clone",
    "database_migrate",
    "backup_list",
    "database_rotate_credentials",
    "tenant_move",
    "tenant_move_finalise",
    "fleet_migration_start",
    "fleet_migration_status",
    "fleet_migration_pause",
    "fleet_migration_abort",
}
RECORD_TOOLS = {
    "collection_describe",
    "record_query",
    "record_get",
    "record_aggregate",
    "record_create",
    "record_update",
}


@pytest.mark.parametrize("era", [pytest.param(ERAS[0], marks=pytest.mark.sweep), *ERAS[1:]])
async def test_a_client_lists_the_tools_of_its_role(
    shared: House, issue: Callable[..., Token], era: str
) -> None:
    # It starts its face as a user's client does.
    async with spawned(shared, issue("operator", "acme"), mode=era) as client:
        listed = (await client.list_tools()).tools

    assert {tool.name for tool in listed} == OPERATOR_TOOLS
    for tool in listed:
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert tool.output_schema is not None
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)


@pytest.mark.parametrize("era", [pytest.param(ERAS[0], marks=pytest.mark.sweep), *ERAS[1:]])
async def test_every_structured_answer_fits_the_published_schema(
    shared: House, agent: Agent, issue: Callable[..., Token], era: str
) -> None:
    token = issue("operator,support", f"acme,{(new := fresh_name())}")
    created = {"tenant": "acme", "collection": "contacts", "values": contact()}
    async with agent(shared, token, mode=era) as client:
        schemas = {one.name: one.output_schema for one in (await client.list_tools()).tools}

        async def fits(tool: str, **arguments: object) -> str:
            given = answer(await client.call_tool(tool, arguments))
            schema = schemas[tool]
            assert schema is not None
            jsonschema.validate(given, schema)
            return str(given["outcome"])

        seen = [
            await fits("whoami"),
            await fits("plan_list"),
            await fits("tenant_list"),
            await fits("tenant_get", tenant="acme"),
            await fits("tenant_get", tenant="nobody"),
            await fits("record_create", **created, idempotency_key=fresh_key(), dry_run=True),
            await fits("record_create", **created, idempotency_key=fresh_key()),
            await fits("record_query", tenant="acme", collection="contacts", limit=1),
            await fits("tenant_onboard", **onboarding("acme")),
            await fits("tenant_onboard", **(asked := onboarding(new))),
        ]
        run_id = (await call(client, "tenant_onboard", **asked))["run_id"]
        await run_until(client, run_id, {"applied"})
        seen += [
            await fits("tenant_onboard", **asked),
            await fits("run_get", run_id=run_id),
            await fits("run_cancel", run_id=run_id, idempotency_key=fresh_key()),
            await fits("approval_get", approval_id="0" * 32),
            await fits("run_list", state=["applied"], limit=1),
            await fits("run_list", state="active", tenant=new),
            await fits("approval_list"),
        ]

    assert seen == [
        *("done", "done", "done", "done", "not_found"),
        *("planned", "done", "done", "refused", "running"),
        *("done", "done", "refused", "not_found"),
        *("done", "done", "done"),
    ]


async def test_the_text_of_an_answer_is_its_structure(
    shared: House, agent: Agent, issue: Callable[..., Token]
) -> None:
    async with agent(shared, issue("viewer", "acme")) as client:
        result = await client.call_tool("whoami", {})

    (content,) = result.content
    assert isinstance(content, types.TextContent)
    assert types.CallToolResult.model_validate_json(
        '{"content": [], "structuredContent": ' + content.text + "}"
    ).structured_content == answer(result)
    assert answer(result)["result"] == {
        "principal": "alice",
        "actor": "bot",
        "actor_kind": "agent",
        "roles": ["viewer"],
        "tenants": ["acme"],
    }


@pytest.mark.parametrize("era", ERAS)
async def test_an_unlisted_tool_cannot_be_told_from_an_unknown_one(
    shared: House, agent: Agent, issue: Callable[..., Token], era: str
) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("nothing_of_that_name", {}),
        ("record_create", {"tenant": "acme", "collection": "contacts", "values": contact()}),
        ("record_create", {"tenant": 7, "surplus": "x"}),
        ("tenant_onboard", {}),
        ("run_cancel", {"run_id": "0" * 32, "idempotency_key": fresh_key()}),
    ]
    told: list[str] = []
    async with agent(shared, issue("viewer", "acme"), mode=era) as client:
        for tool, arguments in cases:
            with pytest.raises(MCPError) as caught:
                await client.call_tool(tool, arguments)
            told.append(caught.value.error.model_dump_json())

    assert set(told) == {'{"code":-32602,"message":"Unknown tool","data":null}'}
