"""The wall before the protocol, as one ASGI application: who may knock, with how much, by which token. Decides no call."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from control_plane.domain.caller import Caller
from control_plane.errors import PaybillError, Unavailable
from server import integration_document
from server.dispatch import DeadlineExceeded
from server.hook_door import HookDoor
from server.http_answers import (
    METADATA_S,
    Challenges,
    Header,
    RefusalLog,
    answer,
    metadata_paths,
)
from server.http_auth import Bearers
from server.http_bodies import BodyTooLarge, ClientGone, nests_within, read_body, replayed
from server.http_options import MCP_PATH, origin_of, path_of
from server.http_protocol import HEAD_BYTES_MAX
from server.http_visits import CURRENT, Forbidden, Shares, TooManyRequests, Visit
from server.integration import route_of
from server.tokens import Unauthenticated

HEADERS_MAX: Final = 64
# The envelope around a call's arguments nests too.
ENVELOPE_DEPTH: Final = 8
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_RETRY: Final[Header] = (b"retry-after", b"1")
_ONCE: Final = frozenset({b"host", b"origin", b"authorization", b"dpop", b"content-type"})
_PREFLIGHT: Final[tuple[Header, ...]] = (
    (
        b"access-control-allow-headers",
        (
            b"authorization, content-type, accept, dpop, idempotency-key, "
            b"mcp-protocol-version, mcp-method, mcp-name"
        ),
    ),
    (b"access-control-max-age", b"600"),
)
_LOG = logging.getLogger("paybill.http")

Headers = dict[bytes, bytes]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Door(NamedTuple):
    """What answers a path behind the wall, by which method; `url` where it is not the server's own.

    `services` is whether the tokens of the SaaS's own services open it.
    """

    method: str
    app: Asgi
    url: str = ""
    services: bool = False


@dataclass(frozen=True)
class Wall:
    """What a request is held to before its token is looked at."""

    hosts: frozenset[bytes]
    origins: frozenset[bytes]
    body_bytes_max: int
    depth_max: int


@dataclass(frozen=True)
class Inside:
    """What lies behind the wall: the protocol, the SaaS's own door, and where providers knock."""

    mcp: Asgi
    integration: Asgi
    hooks: HookDoor


class Broken(Exception):
    """A fault of ours; the server answers 500, or closes the connection."""


class Refusal(Exception):
    """A request that goes no further: status, the code for our log, what the client may know of it."""

    def __init__(
        self, status: int, reason: str, headers: tuple[Header, ...] = (), told: str = ""
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers
        self.told = told or reason


class HttpApp:
    """Host, Origin, head, token, body: in this order, each before the next costs anything."""

    def __init__(
        self,
        wall: Wall,
        bearers: Bearers,
        shares: Shares,
        *,
        audience: str,
        metadata: bytes,
        inside: Inside,
        caller: Callable[[], Caller],
    ) -> None:
        self._wall = wall
        self._bearers = bearers
        self._shares = shares
        self._challenges = Challenges(audience)
        self._documents = {
            **dict.fromkeys(metadata_paths(audience), metadata),
            integration_document.PATH: integration_document.openapi(),
        }
        self._base = origin_of(audience) + path_of(audience).removesuffix(MCP_PATH)
        self._inside = inside
        self._caller = caller
        self._log = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extra: list[Header] = [_NO_STORE]
        try:
            headers = self._admitted(scope, extra)
            door = self._door(scope["path"])
            if door is not None:
                await self._called(door, scope, headers, receive, send, extra)
            elif self._inside.hooks.knows(scope["path"]):
                await self._hooked(scope, receive, send, extra)
            else:
                await self._told(scope, send, extra)
        except Refusal as refusal:
            self._log.tell(refusal.reason)
            sent = (*refusal.headers, *extra)
            await answer(send, refusal.status, error=refusal.told, headers=sent)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - one request must not end the others
            # Its text may hold a value: only kind and place. The server closes the connection.
            frames = traceback.extract_tb(error.__traceback__)
            _LOG.error("a fault: %s at line %s", type(error).__name__, frames[-1].lineno)
            raise Broken from None

    def _admitted(self, scope: Scope, extra: list[Header]) -> Headers:
        given: Headers = {}
        size = len(scope["raw_path"]) + len(scope["query_string"])
        listed: list[Header] = scope["headers"]
        for name, value in listed:
            size += len(name) + len(value)
            if name in given and name in _ONCE:
                raise Refusal(400, "header_twice")
            given[name] = value
        if size > HEAD_BYTES_MAX or len(listed) > HEADERS_MAX:
            raise Refusal(431, "head_too_large")
        if given.get(b"host") not in self._wall.hosts:
            raise Refusal(421, "host_not_allowed")
        origin = given.get(b"origin")
        if origin is not None:
            if origin not in self._wall.origins:
                raise Refusal(403, "origin_not_allowed")
            extra.append((b"access-control-allow-origin", origin))
            extra.append((b"access-control-expose-headers", b"www-authenticate"))
            extra.append((b"vary", b"origin"))
        return given

    async def _told(self, scope: Scope, send: Send, extra: list[Header]) -> None:
        document = self._documents.get(scope["path"])
        if document is None:
            raise Refusal(404, "no_such_path")
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "method_not_allowed", ((b"allow", b"GET, HEAD"),))
        kept = [(b"cache-control", f"max-age={METADATA_S}".encode()), *extra[1:]]
        await answer(send, 200, body=document, headers=kept)

    def _door(self, path: str) -> Door | None:
        if path == MCP_PATH:
            # No stream of the server's own: there is nothing that it would say unasked.
            return Door("POST", self._inside.mcp)
        route = route_of(path)
        if route is None:
            return None
        return Door(route.method, self._inside.integration, f"{self._base}{path}", services=True)

    async def _called(
        self,
        door: Door,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        send: Send,
        extra: list[Header],
    ) -> None:
        method = door.method.encode()
        if scope["method"] == "OPTIONS" and b"origin" in headers:
            asked: Header = (b"access-control-allow-methods", method)
            await answer(send, 204, headers=(asked, *_PREFLIGHT, *extra))
            return
        if scope["method"] != door.method:
            raise Refusal(405, "method_not_allowed", ((b"allow", method),))
        try:
            proven = await self._bearers.proven(headers, door.method, door.url)
            if b"access_token" in scope["query_string"]:
                raise Refusal(400, "token_in_query")
            with self._shares.taken(proven.holder) as hop:
                visit = Visit(proven, hop, door.services)
                body = await self._body(headers, receive)
                await self._passed(door.app, visit, scope, replayed(body, receive), send, extra)
        except Unauthenticated as error:
            raise self._unauthenticated(error) from None
        except Forbidden as error:
            raise Refusal(403, error.code, tuple(self._challenges.forbidden())) from None
        except TooManyRequests:
            raise Refusal(429, "too_many_requests", (_RETRY,)) from None
        except Unavailable as error:
            raise Refusal(503, error.code, (_RETRY,)) from None

    async def _hooked(
        self, scope: Scope, receive: Receive, send: Send, extra: list[Header]
    ) -> None:
        if scope["method"] != "POST":
            raise Refusal(405, "method_not_allowed", ((b"allow", b"POST"),))
        taken = await self._inside.hooks.taken(scope, receive)
        if taken.reason:
            self._log.tell(taken.reason)
        # Whoever forges learns nothing of what was wrong.
        retry = (_RETRY,) if taken.again else ()
        await answer(send, taken.status, headers=(*retry, *extra))

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        try:
            body = await read_body(
                receive, headers.get(b"content-length"), self._wall.body_bytes_max
            )
        except BodyTooLarge:
            raise Refusal(413, "body_too_large") from None
        if not nests_within(body, self._wall.depth_max):
            raise Refusal(400, "nested_too_deeply")
        return body

    async def _passed(
        self,
        app: Asgi,
        visit: Visit,
        scope: Scope,
        receive: Receive,
        send: Send,
        extra: list[Header],
    ) -> None:
        """Hand the request on; not one byte of its answer leaves before the grant's row was read."""
        withheld = False

        async def held(message: Message) -> None:
            nonlocal withheld
            if message["type"] == "http.response.start":
                if not visit.known and visit.failed is None:
                    await self._look(visit)
                withheld = visit.failed is not None
                message["headers"] = [*message.get("headers", ()), *extra]
            if not withheld:
                await send(message)

        mark = CURRENT.set(visit)
        try:
            await app(scope, receive, held)
        finally:
            CURRENT.reset(mark)
        if visit.failed is not None:
            raise visit.failed

    async def _look(self, visit: Visit) -> None:
        # A request that needed no caller, such as a handshake: its token must hold all the same.
        try:
            await visit.hop.run(self._caller)
        except DeadlineExceeded:
            visit.failed = Unavailable("The store did not answer in time.", code="deadline")
        except PaybillError as error:
            visit.failed = error

    def _unauthenticated(self, error: Unauthenticated) -> Refusal:
        return Refusal(401, error.code, tuple(self._challenges.headers(error)), error.told)
