"""One connection to a server over HTTP that is kept open, for many calls at little cost. Not MCP's own client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.support.house import Token
from tests.support.http_faces import HttpFace, bearer, modern_headers, modern_request


@dataclass(frozen=True)
class Kept:
    """A connection of one caller; one call at a time."""

    host: str
    token: Token
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, served: HttpFace, token: Token) -> Kept:
        """Open it."""
        host, port = served.address
        reader, writer = await asyncio.open_connection(host, port)
        return cls(f"{host}:{port}", token, reader, writer)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer to one call."""
        body = json.dumps(modern_request("tools/call", name=tool, arguments=arguments)).encode()
        sent = {
            "host": self.host,
            "content-length": str(len(body)),
            **modern_headers("tools/call", tool),
            **bearer(self.token),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
        said = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(said.split(b"content-length:")[1].split(b"\r\n")[0])
        answered = json.loads(await self.reader.readexactly(length))
        assert said.startswith(b"http/1.1 200 "), (tool, said, answered)
        found: dict[str, Any] = answered["result"]["structuredContent"]
        return found

    def close(self) -> None:
        """Let it go."""
        self.writer.close()
