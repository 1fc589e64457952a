"""An agent: a real MCP client over stdio to a server that it started. Judges nothing."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client

from control_plane.domain.canonical import Json
from server.demo.ledger import Seen
from server.demo.place import PYTHON, Place

_READ_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Agent:
    """What an agent can do: list tools and call them."""

    name: str
    client: Client

    async def tools(self) -> Seen:
        """The names of the tools as this agent sees them."""
        listed = await self.client.list_tools()
        return {"tools": [tool.name for tool in listed.tools]}

    async def ask(self, tool: str, arguments: Mapping[str, Json]) -> Seen:
        """Call a tool: its structured answer, or the error in the input or of the protocol."""
        try:
            answered = await self.client.call_tool(tool, dict(arguments))
        except MCPError as error:
            return {"error": {"code": error.error.code, "message": error.error.message}}
        if answered.structured_content is not None:
            return cast("Seen", answered.structured_content)
        texts = [block.text for block in answered.content if block.type == "text"]
        return {"is_error": bool(answered.is_error), "text": "\n".join(texts)}


@asynccontextmanager
async def connected(place: Place, name: str) -> AsyncGenerator[Agent]:
    """Start a server with this agent's token and talk to it; it ends with the block."""
    arguments = [*PYTHON[1:], "serve", "--token-file", str(place.token_file(name))]
    parameters = StdioServerParameters(
        command=sys.executable,
        args=arguments,
        cwd=place.workspace.root,
        env=place.environment,
    )
    with place.face_log.open("a", encoding="utf-8") as log:
        wire = stdio_client(parameters, errlog=log)
        async with Client(wire, read_timeout_seconds=_READ_TIMEOUT_S) as client:
            yield Agent(name, client)
