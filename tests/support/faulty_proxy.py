"""A door to a cloud's emulator that breaks down at a chosen request. Not the emulator, and not Terraform.

Requests are of three kinds: what changes the cloud, what writes a state, what holds its lock. Once it
has broken down nothing more of that kind gets through, until the test mends it: so of n changes
exactly n, or n - 1, have been made.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["cloud", "state", "lock"]
How: TypeAlias = Literal["error", "lost", "hang", "once"]
"""Answered with 500 and not done; done, and the answer lost; neither done nor answered; answered with
500 this one time alone."""

STATES: Final = "states"
_CHANGES: Final = re.compile(r"(Add|Attach|Create|Delete|Modify|Put|Remove|Set|Tag|Update)[A-Z]")
_ACTION: Final = re.compile(rb"(?:^|&)Action=([A-Za-z]+)")
_KEY: Final = re.compile(r"Credential=([^/,\s]+)/")
_HANG_S: Final = 120.0
_FORWARD_S: Final = 60.0
_NOT_PASSED_ON: Final = frozenset(
    {"connection", "content-length", "transfer-encoding", "date", "server"}
)


@dataclass
class Fault:
    """At which request of a kind the door breaks down, and how. `struck` says that it has."""

    kind: Kind
    nth: int
    how: How

    def __post_init__(self) -> None:
        self.struck = threading.Event()
        self.mended = threading.Event()
        self._lock = threading.Lock()
        self._count = 0

    def meets(self, kind: Kind | None) -> Literal["before", "now", "after"]:
        """Where a request stands that has come to the door."""
        with self._lock:
            if kind != self.kind or self.mended.is_set():
                return "before"
            self._count += 1
            if self.how == "once" and self._count > self.nth:
                return "before"
            return (
                "before"
                if self._count < self.nth
                else "now"
                if self._count == self.nth
                else "after"
            )


NO_FAULT: Final = Fault("cloud", 10**9, "error")


class FaultyProxy:
    """One door, which works until a fault is armed. `keys` are those that came with signed requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: set[str] = set()
        self.fault = NO_FAULT

    @contextmanager
    def armed(self, fault: Fault) -> Generator[Fault]:
        """Let the fault strike within the block; mended at its end."""
        self.fault = fault
        try:
            yield fault
        finally:
            fault.mended.set()
            self.fault = NO_FAULT


@contextmanager
def faulty_proxy(upstream: str) -> Generator[FaultyProxy]:
    """Open a door to `upstream` (http://host:port); closed with the block."""
    server = _Server(upstream.removeprefix("http://"))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield server.door
    finally:
        server.shutdown()
        server.server_close()
        serving.join(_FORWARD_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a provider asks for many things at once, and here never twice

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.door = FaultyProxy(f"http://127.0.0.1:{self.server_address[1]}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        assert isinstance(self.server, _Server)
        self.server.door.keys.update(_KEY.findall(self.headers.get("Authorization", "")))
        fault = self.server.door.fault
        meets = fault.meets(_kind_of(self.command, self.path, self.headers, body))
        if meets == "before":
            return self._answer(*self._forwarded(body, self.server.upstream))
        if meets == "now" and fault.how == "lost":
            self._forwarded(body, self.server.upstream)
        fault.struck.set()
        if fault.how in {"error", "once"}:
            return self._answer(
                500, [("Content-Type", "text/xml")], b"<Error><Code>InternalError</Code></Error>"
            )
        if fault.how == "hang":
            fault.mended.wait(_HANG_S)
        self.close_connection = True
        return None

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base's own names

    def _forwarded(self, body: bytes, upstream: str) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(upstream, timeout=_FORWARD_S)
        try:
            sent = {name: value for name, value in self.headers.items() if name != "Expect"}
            connection.request(self.command, self.path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, value)
        said = {name.lower(): value for name, value in headers}
        is_head = self.command == "HEAD"
        self.send_header(
            "Content-Length", said.get("content-length", "0") if is_head else str(len(body))
        )
        self.end_headers()
        if not is_head:
            self.wfile.write(body)


def _kind_of(method: str, path: str, headers: Any, body: bytes) -> Kind | None:
    """What a request would change; None for one that only reads."""
    if path.startswith(f"/{STATES}/"):
        if method not in {"PUT", "DELETE"}:
            return None
        return "lock" if ".tflock" in path else "state"
    if method in {"PUT", "DELETE"}:
        return "cloud"
    if method != "POST":
        return None
    target = headers.get("X-Amz-Target", "").rpartition(".")[2]
    named = _ACTION.search(body)
    action = target or (named[1].decode() if named else "")
    return "cloud" if _CHANGES.match(action) else None
