"""The bare SDK: a low-level MCP server over the same rows, with no policy, no audit and no caller."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from reads import Rows, listed

Tool = Callable[[Mapping[str, Any]], dict[str, Any]]


def make(folder: Path) -> Server[Any]:
    """The server over one folder of rows."""
    rows = Rows(folder)
    tools = listed(folder)
    schemas = {tool["name"]: tool["input_schema"] for tool in tools}
    deeds: dict[str, Tool] = {
        "tenant_get": lambda a: rows.tenant(a["tenant"]),
        "record_query": lambda a: rows.page(a["tenant"]),
        "record_create": lambda a: rows.add(a["tenant"], a["values"]),
    }

    async def list_tools(
        _ctx: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(**tool) for tool in tools])

    async def call_tool(
        _ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        found = {"outcome": "done", "result": deeds[params.name](params.arguments or {})}
        text = types.TextContent(type="text", text=json.dumps(found))
        return types.CallToolResult(content=[text], structured_content=found)

    return Server(
        "bare",
        version="1",
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def over_stdio(server: Server[Any]) -> None:
    """One client."""
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def over_http(server: Server[Any], port: int) -> None:
    """JSON answers, no session, the parser that Paybill has."""
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
    config = uvicorn.Config(
        manager.handle_request,
        port=port,
        http="httptools",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_level="warning",
    )
    async with manager.run():
        await uvicorn.Server(config).serve()


def main(transport: str, folder: str, port: str = "0") -> None:
    """`stdio FOLDER` or `http FOLDER PORT`."""
    server = make(Path(folder))
    if transport == "stdio":
        anyio.run(over_stdio, server)
    else:
        anyio.run(over_http, server, int(port), backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main(*sys.argv[1:])
