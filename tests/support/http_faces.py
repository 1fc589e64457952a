"""A server over HTTP as a child process, and clients of it: MCP's own, and bare requests. Not a test."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from server.tokens import Bound
from tests.support.forked import Forked, Start, start_paybill
from tests.support.house import House, Token
from tests.support.waiting import until
from tests.support.workers import stop_process

AUDIENCE = "https://paybill.test/mcp"
FOR_HTTP = Bound(AUDIENCE)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - in configuration: the test's own client is on loopback
READY_S = 60.0
ANSWER_S = 30.0
MODERN = "2026-07-28"


@dataclass(frozen=True)
class HttpFace:
    """`paybill serve --http`, ready for requests."""

    url: str
    process: Forked
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        """Where a client of this machine connects."""
        parts = urlsplit(self.url)
        host = str(parts.hostname)
        return "127.0.0.1" if host == EVERYWHERE else host, int(parts.port or 0)

    @property
    def local_url(self) -> str:
        """The same, as a URL."""
        host, port = self.address
        return f"{urlsplit(self.url).scheme}://{host}:{port}/mcp"

    def told(self) -> str:
        """What it has logged."""
        return self.log.read_text()


@contextmanager
def http_face(
    house: House, *options: str, bind: str = "127.0.0.1:0", audience: str = AUDIENCE
) -> Generator[HttpFace]:
    """Start a server on a free port; ended with the block. `FOR_HTTP` makes tokens for it."""
    number = len(list(house.folder.glob("http-*.log")))
    log, address = house.folder / f"http-{number}.log", house.folder / f"http-{number}.url"
    words = ("serve", "--http", bind, "--audience", audience, "--address-file", str(address))
    process = start_paybill(Start((*words, *options), house.environment, house.workspace.root, log))
    try:
        until(lambda: process.poll() is not None or address.exists(), "it listens", READY_S)
        assert process.poll() is None, log.read_text()[-4000:]
        served = HttpFace(address.read_text().strip(), process, log)
        until(lambda: _answers(served), "it answers", READY_S)
        yield served
    finally:
        stop_process(process)


def _answers(served: HttpFace) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(served.address) == 0


def text_of(token: Token | str | None) -> str | None:
    """The token itself."""
    return token.text if isinstance(token, Token) else token


def bearer(token: Token | str | None) -> dict[str, str]:
    """The header that carries a token."""
    text = text_of(token)
    return {} if text is None else {"authorization": f"Bearer {text}"}


@asynccontextmanager
async def http_connected(
    served: HttpFace, token: Token | str | None, *, mode: str = "auto"
) -> AsyncGenerator[Client]:
    """MCP's own client, with the token on each request."""
    async with (
        httpx2.AsyncClient(headers=bearer(token), timeout=ANSWER_S, trust_env=False) as http,
        Client(
            streamable_http_client(served.local_url, http_client=http),
            mode=mode,
            read_timeout_seconds=90.0,
        ) as client,
    ):
        yield client


def modern_request(method: str, **params: Any) -> dict[str, Any]:
    """One self-contained request of the newer era."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bare", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta, **params}}


def modern_headers(method: str, name: str | None = None) -> dict[str, str]:
    """The headers that the newer era asks for."""
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": MODERN,
        "mcp-method": method,
    }
    return headers if name is None else {**headers, "mcp-name": name}


def post(
    served: HttpFace,
    token: Token | str | None,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    path: str = "/mcp",
) -> httpx2.Response:
    """A bare `whoami` of the newer era, with what is given in the place of its parts."""
    body = json.dumps(modern_request("tools/call", name="whoami", arguments={})).encode()
    sent = {**modern_headers("tools/call", "whoami"), **bearer(token), **(headers or {})}
    host, port = served.address
    url = f"{urlsplit(served.url).scheme}://{host}:{port}{path}"
    return httpx2.post(
        url,
        headers=sent,
        content=body if content is None else content,
        timeout=ANSWER_S,
        trust_env=False,
    )


def legacy_headers() -> dict[str, str]:
    """The headers of the older era."""
    return {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": "2025-11-25",
    }


def exchange(served: HttpFace, *parts: bytes, deadline_s: float = ANSWER_S) -> bytes:
    """Send bytes as they are, and take all that comes until the server closes."""
    with socket.create_connection(served.address, timeout=deadline_s) as opened:
        for part in parts:
            opened.sendall(part)
        received = b""
        while piece := opened.recv(65_536):
            received += piece
        return received
