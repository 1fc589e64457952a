"""A list is put together from finished parts: what a client reads of it is what the SDK makes of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import methods
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from server.dispatch import Dispatch
from server.mcp_face import INSTRUCTIONS, McpFace
from server.published_tools import LIST, published, wire_form
from tests.support.agents import ERAS
from tests.support.house import House, Token
from tools.registry import TOOLS

VERSIONS = (*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_parts_are_the_whole_in_every_version_of_the_protocol(version: str) -> None:
    whole = types.ListToolsResult(tools=[published(tool) for tool in TOOLS.values()])
    dumped = whole.model_dump(by_alias=True, mode="json", exclude_none=True)

    shaped = methods.serialize_server_result(LIST, version, dumped)

    assert shaped["tools"] == [wire_form(tool, version) for tool in TOOLS.values()]


def test_a_part_is_made_once() -> None:
    tool = TOOLS["tenant_get"]

    assert wire_form(tool, VERSIONS[-1]) is wire_form(tool, VERSIONS[-1])


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_a_client_reads_what_a_plain_server_would_say(
    shared: House, issue: Callable[..., Token], era: str
) -> None:
    with shared.face(issue("operator", "acme")) as face:
        tools = face.front.listed()
        filled = McpFace(face.front, Dispatch(2, 10.0), "1")
        async with Client(filled.server, mode=era) as client:
            ours = await client.list_tools()

    async def all_of_them(
        _ctx: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[published(tool) for tool in tools], cache_scope="private"
        )

    plain: Server[Any] = Server(
        "paybill",
        version="1",
        title="Paybill",
        instructions=INSTRUCTIONS,
        on_list_tools=all_of_them,
    )
    async with Client(plain, mode=era) as client:
        theirs = await client.list_tools()

    assert ours.tools
    assert ours == theirs


@pytest.mark.anyio
async def test_one_answer_leaves_the_parts_of_the_next_as_they_were(
    shared: House, issue: Callable[..., Token]
) -> None:
    with shared.face(issue("viewer", "acme")) as face:
        served = McpFace(face.front, Dispatch(2, 10.0), "1")
        async with Client(served.server) as client:
            first = await client.list_tools()
            first.tools[0].input_schema.clear()
            again = await client.list_tools()

    assert again.tools[0].input_schema


@pytest.mark.anyio
async def test_nobody_without_a_token_that_holds_is_told_of_a_tool(shared: House) -> None:
    with shared.face(None) as face:
        served = McpFace(face.front, Dispatch(2, 10.0), "1")
        async with Client(served.server) as client:
            assert (await client.list_tools()).tools == []
