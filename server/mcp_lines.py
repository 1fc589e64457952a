"""MCP messages over bounded lines: what the SDK's server runs on for one connection. Not the listener."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from server.lines import Lines, LineTooLong

REQUESTS_OPEN_MAX: Final = 32
_CANCELLED: Final = "notifications/cancelled"
Received = SessionMessage | Exception


class OpenRequests:
    """The requests of one connection that wait for their answer: never more than a bound."""

    def __init__(self, requests_max: int = REQUESTS_OPEN_MAX) -> None:
        self._requests_max = requests_max
        self._ids: set[str] = set()
        self._change = anyio.Event()

    async def room(self) -> None:
        """Wait until another request may be read: a peer that takes no answers is read no further."""
        while len(self._ids) >= self._requests_max:
            await self._change.wait()

    def admit(self, message: types.JSONRPCMessage) -> bool:
        """Note what the message opens or ends; False for an id that is open already."""
        if isinstance(message, types.JSONRPCRequest):
            name = _name(message.id)
            if name in self._ids:
                return False
            self._ids.add(name)
        elif isinstance(message, types.JSONRPCNotification) and message.method == _CANCELLED:
            # A cancelled request is never answered.
            self._end(_name((message.params or {}).get("requestId")))
        return True

    def answered(self, message: types.JSONRPCMessage) -> None:
        """Note that an answer has left."""
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self._end(_name(message.id))

    def _end(self, name: str) -> None:
        self._ids.discard(name)
        self._change.set()
        self._change = anyio.Event()


class McpLines:
    """One connection's two pumps between its lines and the SDK's streams."""

    def __init__(self, lines: Lines, line_bytes_max: int) -> None:
        self._lines = lines
        self._line_bytes_max = line_bytes_max
        self._open = OpenRequests()

    @asynccontextmanager
    async def streams(
        self,
    ) -> AsyncGenerator[
        tuple[MemoryObjectReceiveStream[Received], MemoryObjectSendStream[SessionMessage]]
    ]:
        """The streams to run a server on; the connection is over when the block ends."""
        to_server, reading = anyio.create_memory_object_stream[Received](0)
        writing, from_server = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._receive, to_server)
            tasks.start_soon(self._send, from_server, tasks.cancel_scope)
            try:
                yield reading, writing
            finally:
                tasks.cancel_scope.cancel()
                for stream in (reading, writing, to_server, from_server):
                    stream.close()

    async def _receive(self, to_server: MemoryObjectSendStream[Received]) -> None:
        # Closing this end is what ends the server's loop.
        async with to_server:
            while (line := await self._next()) is not None:
                try:
                    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError as error:
                    # The SDK answers what is no message; the connection goes on, as on stdio.
                    await to_server.send(error)
                    continue
                if not self._open.admit(message):
                    await self._refuse(types.INVALID_REQUEST, "This id is in use")
                    continue
                await to_server.send(SessionMessage(message))

    async def _next(self) -> bytes | None:
        await self._open.room()
        try:
            return await self._lines.read(self._line_bytes_max)
        except LineTooLong:
            await self._refuse(types.INVALID_REQUEST, "The message is too long")
            return None

    async def _refuse(self, code: int, message: str) -> None:
        # Without an id: the one that the peer used names another request, or was never read.
        told = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
        try:
            await self._lines.write(json.dumps(told).encode())
        except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def _send(
        self, from_server: MemoryObjectReceiveStream[SessionMessage], scope: anyio.CancelScope
    ) -> None:
        async with from_server:
            async for sent in from_server:
                line = sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
                try:
                    await self._lines.write(line)
                except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    # Nobody reads any more; what is under way ends by its own deadlines.
                    scope.cancel()
                    return
                self._open.answered(sent.message)


def _name(request_id: object) -> str:
    # 1 and "1" are one id to the SDK.
    return str(request_id)
