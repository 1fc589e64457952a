"""Declared collections as tools, over stdio by a real client: of their own or general, on both engines."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError

from control_plane.data.collection import load_collections
from tests.support.agents import answer, call, error_text
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.onboarding import onboard
from tests.support.postgres import Postgres, raze
from tests.support.workers import running_worker
from tools.form import EACH_COLLECTIONS_MAX, CollectionForm
from tools.toolbox import toolbox

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
CATALOG = Path(__file__).parents[1] / "support" / "ruled_catalog"
TENANT = "acme"
NEW = {"title": "Printer", "status": "open", "priority": 2}
VERBS = ("query", "get", "aggregate", "create", "update", "delete")
OWN = {f"tickets_{verb}" for verb in VERBS}
GENERAL = {f"record_{verb}" for verb in VERBS}
BOTH = pytest.mark.parametrize("form", ["each", "generic"])


@contextmanager
def opened(folder: Path, cerbos: Path, server: Postgres | None) -> Generator[House]:
    """A workspace with tickets and a tenant that has some."""
    house = build_house(folder, cerbos, postgres=server, catalog=CATALOG)
    with ExitStack() as stack:
        if server is not None:
            stack.callback(raze, server, house.workspace.id)
        stack.enter_context(running_worker(house))
        with house.face(house.issue("operator", TENANT)) as face:
            onboard(face, TENANT)
        yield house


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """Its rows in files."""
    with opened(tmp_path_factory.mktemp("desk"), cerbos_binary, None) as house:
        yield house


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)]
)
def either(request: pytest.FixtureRequest) -> Iterator[House]:
    """Its rows in files, and on a server."""
    if request.param == "sqlite":
        yield request.getfixturevalue("desk")
        return
    folder = request.getfixturevalue("tmp_path_factory").mktemp("desk")
    server = request.getfixturevalue("postgres")
    with opened(folder, request.getfixturevalue("cerbos_binary"), server) as house:
        yield house


class Tickets:
    """The tools of the tickets, whatever they are called in this form."""

    def __init__(self, client: Client, form: CollectionForm) -> None:
        self._client, self._form = client, form

    def _asked(self, verb: str, more: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        asked: dict[str, Any] = {"tenant": TENANT, **more}
        if verb in {"create", "update", "delete"}:
            asked.setdefault("idempotency_key", fresh_key())
        if self._form == "each":
            return f"tickets_{verb}", asked
        return f"record_{verb}", {"collection": "tickets", **asked}

    async def call(self, verb: str, **more: Any) -> dict[str, Any]:
        tool, asked = self._asked(verb, more)
        return answer(await self._client.call_tool(tool, asked))

    async def wrong(self, verb: str, **more: Any) -> str:
        tool, asked = self._asked(verb, more)
        return error_text(await self._client.call_tool(tool, asked))


@pytest.mark.long_but_one
@BOTH
async def test_a_record_lives_its_whole_life_through_the_tools(
    either: House, agent: Agent, form: CollectionForm
) -> None:
    token = either.issue("platform_admin", TENANT)
    async with agent(replace(either, collection_tools=form), token) as client:
        tickets = Tickets(client, form)
        made = (await tickets.call("create", values={**NEW, "reporter": "a@example.com"}))["result"]
        record = made["record"]
        assert (record["version"], record["reporter"]) == (1, "a@example.com")
        row_id = record["id"]
        changed = await tickets.call("update", id=row_id, version=1, values={"status": "closed"})
        assert changed["result"]["record"]["version"] == 2
        found = await tickets.call("get", id=row_id, fields=["status"])
        assert found["result"]["record"] == {"id": row_id, "version": 2, "status": "closed"}
        closed = {"op": "eq", "field": "id", "value": row_id}
        page = (await tickets.call("query", filter=closed, sort="-priority"))["result"]
        assert [one["id"] for one in page["records"]] == [row_id]
        gone = await tickets.call("delete", id=row_id, version=2)
        assert gone["result"] == {"deleted": row_id}
        assert (await tickets.call("get", id=row_id))["outcome"] == "not_found"


@pytest.mark.long_but_one
@BOTH
async def test_the_same_call_again_is_the_same_change(
    desk: House, agent: Agent, form: CollectionForm
) -> None:
    token = desk.issue("platform_admin", TENANT, principal="again")
    async with agent(replace(desk, collection_tools=form), token) as client:
        tickets = Tickets(client, form)
        row = (await tickets.call("create", values=NEW))["result"]["record"]
        asked = {"id": row["id"], "version": 1, "values": {"priority": 9}}
        key = fresh_key()
        first = await tickets.call("update", **asked, idempotency_key=key)
        again = await tickets.call("update", **asked, idempotency_key=key)
        assert again["result"] == first["result"]
        assert (await tickets.call("get", id=row["id"]))["result"]["record"]["version"] == 2


@BOTH
async def test_a_wrong_value_is_named_by_its_field_and_not_shown(
    desk: House, agent: Agent, form: CollectionForm
) -> None:
    token = desk.issue("platform_admin", TENANT)
    async with agent(replace(desk, collection_tools=form), token) as client:
        tickets = Tickets(client, form)
        for values, field in (
            ({**NEW, "priority": "secret"}, "values.priority"),
            ({**NEW, "status": "secret"}, "values.status"),
            ({**NEW, "secret": 1}, "values.secret"),
            ({"title": "secret"}, "values."),
        ):
            told = await tickets.wrong("create", values=values)
            assert told.startswith(field), told
            assert "secret" not in told.removeprefix("values.secret")


async def test_a_collection_s_own_tools_are_typed_by_its_fields(desk: House, agent: Agent) -> None:
    token = desk.issue("platform_admin", TENANT)
    async with agent(replace(desk, collection_tools="each"), token) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) >= OWN
        assert not GENERAL & set(listed)
        shape = listed["tickets_create"].input_schema
        values = shape["$defs"]["TicketsInput"]["properties"]
        assert values["status"]["enum"] == ["open", "closed"]
        currencies = {name for name in listed if name.startswith("currencies_")}
        assert currencies == {"currencies_query", "currencies_get", "currencies_aggregate"}
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("record_query", {"tenant": TENANT, "collection": "tickets"})


async def test_the_general_tools_name_the_collections_that_offer_them(
    desk: House, agent: Agent
) -> None:
    token = desk.issue("platform_admin", TENANT)
    async with agent(replace(desk, collection_tools="generic"), token) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) >= GENERAL
        assert not OWN & set(listed)

        def names(tool: str) -> list[str]:
            found: list[str] = listed[tool].input_schema["properties"]["collection"]["enum"]
            return found

        own = ["contacts", "crates", "orders", "tickets", "vaults"]
        assert names("record_query") == sorted([*own, "currencies"])
        assert names("record_create") == own
        described = await call(client, "collection_describe", collection="tickets")
        (tickets,) = described["result"]["collections"]
        assert tickets["fields"]["status"] == {"kind": "enum", "values": ["open", "closed"]}


async def test_who_may_not_use_records_has_none_of_their_tools(desk: House, agent: Agent) -> None:
    token: Token = desk.issue("viewer", TENANT)
    async with agent(replace(desk, collection_tools="each"), token) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert not {name for name in listed if name.startswith(("tickets_", "record_"))}
        for tool in ("tickets_query", "never_query"):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(tool, {"tenant": 5})
            assert refused.value.error.code == types.INVALID_PARAMS


def test_many_collections_get_the_general_tools() -> None:
    declared = {one.name: one for one in load_collections(CATALOG / "collections")}
    tickets = declared["tickets"]
    few = {f"c{n}": tickets.model_copy(update={"name": f"c{n}"}) for n in range(4)}
    assert len(few) == EACH_COLLECTIONS_MAX
    assert "c0_query" in toolbox(few)
    many = {**few, "tickets": tickets}
    assert set(toolbox(many)) >= GENERAL
    assert "c0_query" not in toolbox(many)
    assert "tickets_query" in toolbox(many, "each")
