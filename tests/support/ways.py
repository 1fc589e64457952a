"""The ways to a face: each transport in each era, asked for its very bytes. Not a client, and not a test."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import httpx2

from tests.support.house import House, Token, write_token
from tests.support.http_faces import (
    ANSWER_S,
    MODERN,
    HttpFace,
    bearer,
    http_face,
    legacy_headers,
    modern_headers,
    modern_request,
)
from tests.support.raw import raw_face
from tests.support.sockets import SocketClient, SocketServer, socket_client, socket_server

HANDSHAKE = "2025-11-25"
ERAS = (HANDSHAKE, MODERN)
# The newest one of each transport comes first: what is asked over one way alone is asked over it.
WAYS = (*(f"{transport} {era}" for era in reversed(ERAS) for transport in ("http", "stdio")),)
SOCKET = f"socket {MODERN}"
_ID = b'"asked"'
# What a connection says of itself and of the hour, and not of the question.
_PASSING_HEADERS = frozenset({"date", "content-length"})
_CONTENT = frozenset({"content", "structuredContent", "isError", "tools"})
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """One human and agent, with a token for what is local and one for HTTP."""

    local: Token
    over_http: Token


@dataclass(frozen=True)
class Told:
    """One answer: the message's bytes with the request's id blotted out, and HTTP's status and headers."""

    message: bytes
    head: str = ""

    @cached_property
    def parsed(self) -> dict[str, Any]:
        """The message."""
        found: dict[str, Any] = json.loads(self.message)
        return found

    @property
    def error(self) -> dict[str, Any] | None:
        """The protocol's error, where it is one."""
        found: dict[str, Any] | None = self.parsed.get("error")
        return found

    @property
    def structured(self) -> dict[str, Any] | None:
        """The structured answer to a call, where there is one."""
        found: dict[str, Any] | None = self.parsed.get("result", {}).get("structuredContent")
        return found

    @property
    def whole(self) -> bytes:
        """The message, with each character as itself: one transport of the SDK escapes some."""
        return json.dumps(self.parsed, ensure_ascii=False).encode()

    @property
    def content(self) -> bytes:
        """What an era's own frame is put around, its keys and lists as they came."""
        frameless = self.parsed.get("error") or {
            name: value for name, value in self.parsed["result"].items() if name in _CONTENT
        }
        # Each era writes the keys of a schema in an order of its own.
        return json.dumps(frameless, ensure_ascii=False, sort_keys="tools" in frameless).encode()


class Way(Protocol):
    """One transport in one era."""

    def ask(self, who: Person, method: str, **params: Any) -> Told:
        """Send one request, and wait for its answer."""
        ...


@dataclass
class Connection:
    """Lines to a face and back, greeted where the era asks for it."""

    era: str
    send: Callable[[bytes], object]
    receive: Callable[[], bytes]
    greeted: bool = False

    def ask(self, method: str, params: Mapping[str, Any]) -> Told:
        """Send one request, and take the next line."""
        if self.era == HANDSHAKE and not self.greeted:
            self._exchange("initialize", _greeting())
            self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        self.greeted = True
        return self._exchange(method, params)

    def _exchange(self, method: str, params: Mapping[str, Any]) -> Told:
        number, content = _request(self.era, method, params)
        self.send(content)
        return Told(_blotted(self.receive().rstrip(b"\n"), number))


class Stdio:
    """One child for everyone: it reads its token anew on each call, so the person changes with the file."""

    def __init__(self, house: House, era: str, stack: ExitStack) -> None:
        self._file = house.folder / f"bearer-{era}"
        self._bearer = ""
        face = stack.enter_context(raw_face(house, None, "--token-file", str(self._file)))
        self._connection = Connection(era, face.send, face.next_line)

    def ask(self, who: Person, method: str, **params: Any) -> Told:
        """See `Way`."""
        if self._bearer != who.local.text:
            write_token(self._file, who.local.text)
            self._bearer = who.local.text
        return self._connection.ask(method, params)


class Socket:
    """A connection for each person to a server that the first question starts."""

    def __init__(self, house: House, era: str, stack: ExitStack) -> None:
        self._house = house
        self._server: SocketServer | None = None
        self._era = era
        self._stack = stack
        self._held: dict[str, Connection] = {}

    def ask(self, who: Person, method: str, **params: Any) -> Told:
        """See `Way`."""
        held = self._held.get(who.local.grant_id)
        if held is None:
            held = self._held[who.local.grant_id] = self._opened(who)
        return held.ask(method, params)

    def _opened(self, who: Person) -> Connection:
        if self._server is None:
            self._server = self._stack.enter_context(socket_server(self._house))
        client: SocketClient = self._stack.enter_context(socket_client(self._server, who.local))
        return Connection(self._era, lambda line: client.send(line + b"\n"), client.line)


class Http:
    """One client for everyone, with the person's token on each request."""

    def __init__(self, served: HttpFace, era: str, stack: ExitStack) -> None:
        self._url = served.local_url
        self._era = era
        self._client = stack.enter_context(httpx2.Client(timeout=ANSWER_S, trust_env=False))
        self._greeted: set[str] = set()

    def ask(self, who: Person, method: str, **params: Any) -> Told:
        """See `Way`."""
        if self._era == HANDSHAKE and who.over_http.grant_id not in self._greeted:
            assert "result" in self._exchange(who, "initialize", _greeting()).parsed
            self._greeted.add(who.over_http.grant_id)
        return self._exchange(who, method, params)

    def _exchange(self, who: Person, method: str, params: Mapping[str, Any]) -> Told:
        number, content = _request(self._era, method, params)
        era = modern_headers(method, params.get("name"))
        headers = legacy_headers() if self._era == HANDSHAKE else era
        sent = {**headers, **bearer(who.over_http)}
        found = self._client.post(self._url, headers=sent, content=content)
        told = sorted((k, v) for k, v in found.headers.items() if k not in _PASSING_HEADERS)
        return Told(_blotted(found.content, number), f"{found.status_code} {told}")


@contextmanager
def every_way(house: House) -> Generator[dict[str, Way]]:
    """All of `WAYS`, and `SOCKET`, over children of one house that end with the block."""
    with ExitStack() as stack:
        # Those that are not waited for are started first.
        made: dict[str, Way] = {f"stdio {era}": Stdio(house, era, stack) for era in ERAS}
        served = stack.enter_context(http_face(house))
        made |= {f"http {era}": Http(served, era, stack) for era in ERAS}
        made[SOCKET] = Socket(house, MODERN, stack)
        yield made


def _request(era: str, method: str, params: Mapping[str, Any]) -> tuple[bytes, bytes]:
    number = f"asked-{next(_NUMBERS)}"
    message = {"jsonrpc": "2.0", "method": method, "params": dict(params)}
    if era == MODERN:
        message = modern_request(method, **params)
    return json.dumps(number).encode(), json.dumps({**message, "id": number}).encode()


def _greeting() -> dict[str, Any]:
    client = {"name": "bare", "version": "1"}
    return {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": client}


def _blotted(message: bytes, number: bytes) -> bytes:
    assert message.count(number) == 1, message[:2000]
    return message.replace(number, _ID)
