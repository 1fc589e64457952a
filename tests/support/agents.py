"""An MCP client over a real stdio child, and short words for what it is answered. Not a test."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.support.forked import Start, forked_stdio
from tests.support.house import House, Token

ERAS = ("legacy", "2026-07-28")
RUN_DEADLINE_S = 60.0
_POLL_S = 0.05
_DOOR = ("-P", "-m", "paybill")
_LEADING = len(_DOOR)
_OVER = frozenset(
    {
        "applied",
        "discarded",
        "canceled",
        "failed",
        "compensated",
        "compensation_failed",
        "awaiting_approval",
    }
)


def serve_parameters(
    house: House, token: Token | Path | None, *options: str
) -> StdioServerParameters:
    """How a client starts a face."""
    file = token.file if isinstance(token, Token) else token
    named = [] if file is None else ["--token-file", str(file)]
    return StdioServerParameters(
        command=sys.executable,
        args=[*_DOOR, "serve", *named, *options],
        cwd=str(house.workspace.root),
        env=house.environment,
    )


@asynccontextmanager
async def connected(
    house: House, token: Token | Path | None, *options: str, mode: str = "auto"
) -> AsyncGenerator[Client]:
    """A client over a face of its own; the face ends with the block. Its log: face.log."""
    words = serve_parameters(house, token, *options).args[_LEADING:]
    log, hangs = house.folder / "face.log", any(one.endswith(":hang") for one in options)
    start = Start(words, house.environment, house.workspace.root, log, hangs=hangs)
    async with Client(forked_stdio(start), mode=mode, read_timeout_seconds=90.0) as client:
        yield client


@asynccontextmanager
async def spawned(
    house: House, token: Token | Path | None, *options: str, mode: str = "auto"
) -> AsyncGenerator[Client]:
    """The same by the client's own means: a fresh interpreter, started as a user's client does."""
    parameters = serve_parameters(house, token, *options)
    with (house.folder / "face.log").open("a") as errors:
        async with Client(
            stdio_client(parameters, errlog=errors), mode=mode, read_timeout_seconds=90.0
        ) as client:
            yield client


def answer(result: types.CallToolResult) -> dict[str, Any]:
    """The structured answer; fails the test when there is none."""
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return dict(result.structured_content)


def error_text(result: types.CallToolResult) -> str:
    """The text of an input error; fails the test when it was none."""
    assert result.is_error, result.structured_content
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool, and take its structured answer."""
    return answer(await client.call_tool(tool, arguments))


async def run_until(
    client: Client,
    run_id: str,
    states: Collection[str] = _OVER,
    deadline_s: float = RUN_DEADLINE_S,
) -> dict[str, Any]:
    """Follow a run until it is in one of the states; the run as `run_get` tells it."""
    run: Mapping[str, Any] = {}
    with anyio.move_on_after(deadline_s):
        while True:
            run = (await call(client, "run_get", run_id=run_id))["result"]
            if run["state"] in states:
                return dict(run)
            if run["state"] in _OVER:
                break
            await anyio.sleep(_POLL_S)
    pytest.fail(
        f"the run came to {run.get('state')} ({run.get('detail')}), not to {sorted(states)}"
    )
