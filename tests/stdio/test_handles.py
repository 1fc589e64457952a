"""An agent that passes personal data on and never sees it, over stdio by a real client, in both forms of tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.support.agents import answer, error_text
from tests.support.house import House, build_house, fresh_key
from tests.support.onboarding import ask, onboard
from tests.support.workers import running_worker
from tools.form import CollectionForm

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
CATALOG = Path(__file__).parents[1] / "support" / "handled_catalog"
TENANT = "acme"
ADA, BORN = "ada@example.com", "1815-12-10"
PERSON = {"title": "Lady", "desk": "open", "email": ADA, "born": BORN}
WRITING = {"create", "update"}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """A tenant with one person, whose data the agent was never told."""
    house = build_house(tmp_path_factory.mktemp("handled"), cerbos_binary, catalog=CATALOG)
    with running_worker(house):
        with house.face(house.issue("operator,platform_admin", TENANT)) as face:
            onboard(face, TENANT)
            asked = {"tenant": TENANT, "collection": "people", "values": PERSON}
            assert ask(face, "record_create", **asked, idempotency_key=fresh_key())["result"]
        yield house


def called(form: CollectionForm, collection: str, verb: str, **more: Any) -> tuple[str, Any]:
    """The tool's name and its arguments, in this form."""
    asked = {"tenant": TENANT, **more}
    if verb in WRITING:
        asked["idempotency_key"] = fresh_key()
    if form == "each":
        return f"{collection}_{verb}", asked
    return f"record_{verb}", {**asked, "collection": collection}


@pytest.mark.long
@pytest.mark.parametrize("form", ["each", pytest.param("generic", marks=pytest.mark.sweep)])
async def test_an_agent_passes_on_what_it_never_sees(
    office: House, agent: Agent, form: CollectionForm
) -> None:
    token = office.issue("platform_admin", TENANT)
    async with agent(replace(office, collection_tools=form), token) as client:

        async def told(collection: str, verb: str, **more: Any) -> dict[str, Any]:
            result = await client.call_tool(*called(form, collection, verb, **more))
            assert not result.is_error, error_text(result)
            text = result.model_dump_json()
            assert ADA not in text
            assert BORN not in text
            answered: dict[str, Any] = answer(result)["result"]
            return answered

        (person,) = (await told("people", "query"))["records"]
        assert person["email"].startswith("hdl_")
        values = {"subject": "Hello", "recipient": person["email"], "born": person["born"]}
        letter = (await told("letters", "create", values=values))["record"]
        same = {"op": "eq", "field": "recipient", "value": person["email"]}
        found = (await told("letters", "query", filter=same))["records"]
        assert letter["id"] in {one["id"] for one in found}
        change = {"id": letter["id"], "version": 1, "values": {"debt": 5}}
        assert (await told("letters", "update", **change))["record"]["debt"].startswith("hdl_")
        stale = letter["recipient"]
        wrong = called(form, "letters", "create", values={**values, "recipient": stale})
        assert error_text(await client.call_tool(*wrong)) == "values.recipient: unknown handle"


async def test_the_tools_tell_where_a_handle_is_taken_and_given(
    office: House, agent: Agent
) -> None:
    token = office.issue("platform_admin", TENANT)
    async with agent(replace(office, collection_tools="each"), token) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        sent = listed["letters_create"].input_schema["$defs"]["LettersInput"]["properties"]
        assert "^hdl_" in json.dumps(sent["recipient"])
        assert "^hdl_" not in json.dumps(sent["subject"])
        output = listed["letters_query"].output_schema
        assert output is not None
        shown = output["$defs"]["LettersOutput"]["properties"]["debt"]["anyOf"]
        assert [one["type"] for one in shown] == ["string", "null"]
        asked = listed["letters_query"].input_schema["properties"]
        assert "debt" not in json.dumps(asked["sort"])
        assert "debt" in json.dumps(asked["filter"])
        figures = listed["letters_aggregate"].input_schema["properties"]
        by_op = {
            one["properties"]["op"]["const"]: one["properties"].get("field", {}).get("enum", [])
            for one in figures["measures"]["items"]["anyOf"]
        }
        assert "debt" in by_op["count"]
        assert not any("debt" in names for op, names in by_op.items() if op != "count")
        assert "recipient" not in figures["group_by"]["items"]["enum"]
