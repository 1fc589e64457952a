"""HTTP connections within bounds: how many, how large a head, how long a client may take. Not the requests."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import anyio
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_BYTES_MAX: Final = 16_384
REQUEST_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
DRAIN_BYTES_MAX: Final = 33_554_432
_UNREAD_S: Final = 15.0
_CLOSING_S: Final = 5.0
_SWEEP_S: Final = 1.0
_EMPTY: Final = b"content-length: 0\r\nconnection: close\r\n\r\n"
_TOO_MANY: Final = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n" + _EMPTY
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\n" + _EMPTY
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _EMPTY


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What it owes, and since when, is looked at by `sweep`, not by a timer each."""

    _owed_since_s: float | None = None
    _closing_since_s: float | None = None
    _unread_since_s: float | None = None
    _in_head = True
    _head_begun_here = False
    _late_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or tell it that there are enough."""
        super().connection_made(transport)
        self._owed_since_s = self.loop.time()
        if len(self.connections) >= (self.limit_concurrency or 0):
            self._end(_TOO_MANY)

    def data_received(self, data: bytes) -> None:
        """Read on, within the bounds of a head and of what is thrown away."""
        if self.transport.is_closing():
            return
        self._head_begun_here = False
        super().data_received(data)
        if self._head_begun_here or self.transport.is_closing():
            # The head's share of this part is not known; one part is bounded by the loop.
            return
        self._late_bytes += len(data)
        if self._in_head and self._late_bytes > HEAD_BYTES_MAX:
            self._end(_TOO_LARGE)
        elif self._late_bytes > DRAIN_BYTES_MAX:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = self._head_begun_here = True
        self._late_bytes = 0
        if self._owed_since_s is None:
            self._owed_since_s = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, without the blanks around it. What follows a body is no header."""
        if self._in_head:
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """The head has ended, the body begins."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The client owes nothing more."""
        self._owed_since_s = None
        super().on_message_complete()

    def sweep(self, now_s: float) -> None:
        """Give the connection up when its client has been too slow."""
        if self.transport.is_closing():
            self._closing_since_s = self._closing_since_s or now_s
            if now_s - self._closing_since_s > _CLOSING_S:
                self.transport.abort()
            return
        if not self.flow.write_paused:
            self._unread_since_s = None
        else:
            self._unread_since_s = self._unread_since_s or now_s
            if now_s - self._unread_since_s > _UNREAD_S:
                self.transport.abort()
                return
        # While an earlier request of the connection is answered, it is we who do not read.
        owed = self._owed_since_s
        if owed is not None and not self.pipeline and now_s - owed > REQUEST_S:
            unanswered = self._in_head or not self.cycle.response_started
            self._end(_TOO_LATE if unanswered else b"")

    def _end(self, answer: bytes) -> None:
        if answer:
            self.transport.write(answer)
        self.transport.close()


async def sweep_connections(state: ServerState) -> None:
    """Look at every connection once a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await anyio.sleep(_SWEEP_S)
        now_s = loop.time()
        for one in list(state.connections):
            cast("Any", one).sweep(now_s)
