"""Bad input is told by field and rule, never by value, and has no effect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client

from tests.support.agents import ERAS, answer, error_text
from tests.support.house import House, Token, fresh_key
from tests.support.onboarding import contact, onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]

# No part of a value may come back: each wrong value below is, or holds, this text.
SECRET = "sEcrEt-5150"


def nested(levels: int) -> dict[str, Any]:
    """A filter of so many levels, with the secret at the bottom."""
    tree: dict[str, Any] = {"op": "eq", "field": "status", "value": SECRET}
    for _ in range(levels):
        tree = {"op": "not", "args": [tree]}
    return tree


def compared(field: str, value: object) -> dict[str, Any]:
    """A filter of one comparison."""
    return {"op": "eq", "field": field, "value": value}


def created(**changed: Any) -> dict[str, Any]:
    """The arguments of a record's creation, some of them wrong."""
    return {
        "tenant": "acme",
        "collection": "contacts",
        "values": contact(),
        "idempotency_key": fresh_key(),
        **changed,
    }


def queried(**changed: Any) -> dict[str, Any]:
    """The arguments of a query, some of them wrong."""
    return {"tenant": "acme", "collection": "contacts", **changed}


# tool, arguments, the field that is named, a word of the rule
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("whoami", {"who": SECRET}, "who", "not an argument"),
    ("tenant_get", {}, "tenant", "required"),
    ("tenant_get", {"tenant": 5150}, "tenant", "string"),
    ("tenant_get", {"tenant": None}, "tenant", "string"),
    ("tenant_get", {"tenant": [SECRET]}, "tenant", "string"),
    ("tenant_get", {"tenant": SECRET}, "tenant", "pattern"),
    ("tenant_get", {"tenant": "acme\n"}, "tenant", "pattern"),
    ("tenant_get", {"tenant": "acme", "Tenant": SECRET}, "Tenant", "not an argument"),
    ("tenant_list", {"limit": True}, "limit", "integer"),
    ("tenant_list", {"limit": "5"}, "limit", "integer"),
    ("tenant_list", {"limit": 5.5}, "limit", "int"),
    ("tenant_list", {"limit": 0}, "limit", "1"),
    ("tenant_list", {"limit": 10**30}, "limit", "100"),
    ("run_get", {"run_id": SECRET}, "run_id", "pattern"),
    ("tenant_onboard", onboarding("acme", isolation=SECRET), "isolation", "allowed"),
    ("tenant_onboard", onboarding("acme", dry_run="true"), "dry_run", "true or false"),
    ("tenant_onboard", onboarding("acme", dry_run=1), "dry_run", "true or false"),
    ("tenant_onboard", onboarding("acme", idempotency_key="short"), "idempotency_key", "pattern"),
    (
        "tenant_onboard",
        onboarding("acme", display_name=SECRET + "\x1b[2J"),
        "display_name",
        "pattern",
    ),
    ("tenant_onboard", onboarding("acme", display_name=SECRET * 20), "display_name", "120"),
    ("tenant_onboard", onboarding("acme", principal=SECRET), "principal", "not an argument"),
    ("record_create", created(values=[SECRET]), "values", ""),
    ("record_create", created(values=contact(balance=True)), "values.balance", ""),
    ("record_create", created(values=contact(balance=SECRET)), "values.balance", ""),
    ("record_create", created(values=contact(balance=1.5)), "values.balance", ""),
    ("record_create", created(values=contact(status=SECRET)), "values.status", ""),
    ("record_create", created(values=contact(email=SECRET)), "values.email", ""),
    ("record_create", created(values=contact(surplus=SECRET)), "values.surplus", ""),
    ("record_create", created(values=contact(id=SECRET)), "values.id", ""),
    ("record_create", created(values=contact(tenant_id="globex")), "values.tenant_id", ""),
    ("record_create", created(values=contact(balance=10**30)), "values.balance", ""),
    ("record_create", created(values=contact(balance=2**63)), "values.balance", ""),
    ("record_create", created(values=contact(full_name=[SECRET])), "values.full_name", ""),
    ("record_create", created(values=contact(notes="n" * 100_000)), "values.notes", "long"),
    ("record_create", created(values={"notes": SECRET * 40_000}), "arguments", "bytes"),
    ("record_query", queried(filter=nested(20)), "arguments", "nest"),
    ("record_query", queried(filter={"op": SECRET}), "filter", ""),
    ("record_query", queried(filter=compared("balance", 1.5)), "filter.value", "fraction"),
    ("record_query", queried(filter=compared("balance", 10**30)), "filter", ""),
    ("record_query", queried(filter=compared("balance", SECRET)), "filter", ""),
    ("record_query", queried(filter=compared("undeclared", SECRET)), "filter", ""),
    ("record_query", queried(filter=compared("email", SECRET)), "filter", ""),
    ("record_query", queried(filter=compared("tenant_id", "globex")), "filter", ""),
    ("record_query", queried(sort=SECRET), "sort", "pattern"),
    ("record_query", queried(sort="-undeclared"), "sort", ""),
    ("record_query", queried(limit=101), "limit", "100"),
]


@pytest.mark.long_but_one
@pytest.mark.parametrize("era", ERAS)
async def test_bad_input_names_field_and_rule_and_never_the_value(
    shared: House, agent: Agent, issue: Callable[..., Token], era: str
) -> None:
    before = shared.effects_at_rest()
    async with agent(shared, issue("operator,support", "acme"), mode=era) as client:
        told = [await client.call_tool(tool, given) for tool, given, _, _ in CASES]

    for (tool, _, field, rule), result in zip(CASES, told, strict=True):
        assert result.is_error, f"{tool} {field}: {result.structured_content}"
        text = error_text(result)
        named, separator, said = text.partition(": ")
        assert separator, f"{tool} {field}: {text}"
        assert named.startswith(field), f"{tool} {field}: {text}"
        assert rule in said, f"{tool} {field}: {text}"
        assert SECRET not in text, f"{tool} {field}: {text}"
        assert "5150" not in text, f"{tool} {field}: {text}"
        assert len(text) < 400, f"{tool} {field}: {text}"
    assert shared.effects() == before


async def test_a_long_value_within_the_limits_is_taken(
    shared: House, agent: Agent, issue: Callable[..., Token]
) -> None:
    async with agent(shared, issue("support", "acme")) as client:
        result = await client.call_tool("record_create", created(values=contact(notes="n" * 9_000)))

    assert answer(result)["outcome"] == "done"


async def test_the_smallest_body_limit_of_a_face_holds(
    shared: House, agent: Agent, issue: Callable[..., Token]
) -> None:
    token = issue("support", "acme")
    narrow = shared.with_limits(body_bytes_max="4096")
    async with agent(narrow, token) as client:
        small = await client.call_tool("record_create", created(values=contact(notes="n" * 3000)))
        large = await client.call_tool("record_create", created(values=contact(notes="n" * 4096)))

    assert answer(small)["outcome"] == "done"
    assert error_text(large) == "arguments: must have at most 4096 bytes"
