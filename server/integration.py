"""The SaaS's own door: a few tools as plain HTTP, over the same front as every call. No protocol, and no rule of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from control_plane.domain.outcome import Outcome
from control_plane.errors import BadInput
from control_plane.ports import Ids
from graphs.errors import Unlisted
from policies.errors import GateUnavailable
from server.connection_waits import ConnectionWaits
from server.dispatch import DeadlineExceeded
from server.front import Answer, Front
from server.http_answers import Header, answer
from server.http_visits import CURRENT, TooManyRequests, VisitHop
from server.mcp_face import LATE_CHANGE, LATE_READ

RETRY_S: Final = 1
CONNECTION: Final = "connection_get"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
# A front's refusals that are no word about the caller's rights.
_BUSY: Final[Mapping[str, int]] = {"too_many_calls": 429, GateUnavailable.code: 503}
STATUS: Final[Mapping[str, int]] = {
    "done": 200,
    "planned": 200,
    "running": 202,
    "awaiting_approval": 202,
    "refused": 403,
    "not_found": 404,
    "conflict": 409,
    "failed": 500,
    "unknown": 503,
}


@dataclass(frozen=True)
class Route:
    """One path, its parts in braces taken from it, and the tool that it calls."""

    method: str
    path: str
    tool: str
    numbers: tuple[str, ...] = ()
    """What of its query is a whole number: there, everything is text."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a request's path must be."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))


ROUTES: Final = (
    Route("POST", "/v1/usage", "usage_record"),
    Route("GET", "/v1/usage/{tenant}", "usage_summary"),
    Route("GET", "/v1/entitlements/{tenant}/{feature}", "entitlement_check"),
    Route("POST", "/v1/reservations", "quota_reserve"),
    Route("POST", "/v1/reservations/release", "quota_release"),
    Route("GET", "/v1/tenants/{tenant}/connection", CONNECTION, ("after", "wait_s")),
    Route("POST", "/v1/tenants/{tenant}/connection/ack", "connection_acknowledge"),
)
_PATTERNS: Final = tuple((route, route.pattern) for route in ROUTES)


class TenantShares:
    """How many requests of one caller about one tenant are under way; one too many is refused.

    A service reports for all its customers with one token: one of them must not take all its calls.
    """

    def __init__(self, requests_max: int) -> None:
        self._requests_max = requests_max
        self._counts: dict[tuple[str, str], int] = {}

    @contextmanager
    def taken(self, holder: str, tenant: str) -> Generator[None]:
        """Be one of them for as long as the block lasts. Raises TooManyRequests."""
        who = (holder, tenant)
        if self._counts.get(who, 0) >= self._requests_max:
            raise TooManyRequests
        self._counts[who] = self._counts.get(who, 0) + 1
        try:
            yield
        finally:
            self._counts[who] -= 1
            if not self._counts[who]:
                del self._counts[who]


def tenant_requests_max(calls_in_flight_max: int) -> int:
    """How many of one caller's calls may be about one tenant: half, and never none."""
    return max(1, calls_in_flight_max // 2)


def route_of(path: str) -> Route | None:
    """The route of a path, whatever the method."""
    return next((route for route, pattern in _PATTERNS if pattern.fullmatch(path)), None)


class Integration:
    """Answers requests that the wall let through: one call of the front each."""

    def __init__(
        self, front: Front, ids: Ids, calls_in_flight_max: int, waits: ConnectionWaits
    ) -> None:
        self._front = front
        self._waits = waits
        self._ids = ids
        self._shares = TenantShares(tenant_requests_max(calls_in_flight_max))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises TooManyRequests where its caller has enough of that tenant's."""
        route = route_of(scope["path"])
        visit = CURRENT.get()
        assert route is not None, "the wall looks first"
        assert visit is not None, "and takes the token"
        try:
            raw = await self._raw(route, scope, receive)
        except BadInput as error:
            await _send_bad(send, str(error))
            return
        tenant = raw.get("tenant")
        holder, named = visit.proven.holder, tenant if isinstance(tenant, str) else ""
        try:
            with self._shares.taken(holder, named):
                found = await self._called(route, raw)
            if _is_waited_for(route, raw, found):
                # Whether it may be known is decided; it is decided again for what is then told.
                after, wait_s = raw.get("after", 0), raw["wait_s"]
                if await self._waits.later(holder, named, after, wait_s):
                    with self._shares.taken(holder, named):
                        found = await self._called(route, raw)
        except Unlisted:
            await answer(send, 403, error="not_listed")
            return
        await self._answered(found, send)

    async def _called(self, route: Route, raw: Mapping[str, Any]) -> Answer:
        try:
            return await VisitHop().run(self._front.call, route.tool, raw)
        except DeadlineExceeded:
            return Answer(outcome=LATE_CHANGE if route.method == "POST" else LATE_READ)

    async def _answered(self, found: Answer, send: Send) -> None:
        if found.outcome is None:
            await _send_bad(send, found.bad_input or "arguments: bad input")
            return
        status = status_of(found.outcome)
        body = json.dumps(found.outcome.answer(), ensure_ascii=False).encode()
        headers = (retry_of(found.outcome),) if status in (429, 503) else ()
        await answer(send, status, body=body, headers=headers)

    async def _raw(self, route: Route, scope: Scope, receive: Receive) -> dict[str, Any]:
        found = route.pattern.fullmatch(scope["path"])
        assert found is not None, "it is the path's own route"
        named = found.groupdict()
        if route.method == "POST":
            told = _object(scope, await _whole(receive))
            if twice := sorted(named.keys() & told.keys()):
                raise BadInput(twice[0], "must be given once")
            return self._with_key(scope, {**told, **named})
        return {**_numbered(_query(scope), route), **named}

    def _with_key(self, scope: Scope, raw: dict[str, Any]) -> dict[str, Any]:
        # Each event has an id of its own, by which it counts once, and what holds quota has a name,
        # by which it holds it once: neither needs a further key.
        given = [value for name, value in scope["headers"] if name == b"idempotency-key"]
        if not given:
            return {"idempotency_key": self._ids.new(), **raw}
        if len(given) > 1 or "idempotency_key" in raw:
            raise BadInput("idempotency_key", "must be given once")
        return {**raw, "idempotency_key": given[0].decode("latin-1")}


def _is_waited_for(route: Route, raw: Mapping[str, Any], found: Answer) -> bool:
    """Whether the caller may know it, has the latest version already, and would wait for the next."""
    outcome = found.outcome
    if route.tool != CONNECTION or outcome is None or outcome.outcome != "done":
        return False
    told = cast("Mapping[str, int]", outcome.answer()["result"])
    return bool(raw.get("wait_s")) and told["version"] <= int(raw.get("after", 0))


def status_of(outcome: Outcome) -> int:
    """The HTTP status of an outcome."""
    if outcome.outcome == "refused":
        return _BUSY.get(outcome.code or "", STATUS["refused"])
    if outcome.outcome == "failed" and outcome.retryable:
        return 503
    return STATUS[outcome.outcome]


def retry_of(outcome: Outcome) -> Header:
    """When the call is worth another try, as HTTP says it."""
    seconds = RETRY_S if outcome.retry_after_s is None else outcome.retry_after_s
    return (b"retry-after", str(seconds).encode())


def bad_input(text: str) -> bytes:
    """The body of a 422, of `field: rule` as BadInput says it."""
    field, _, rule = text.partition(": ")
    return json.dumps({"error": "bad_input", "field": field, "rule": rule}).encode()


async def _send_bad(send: Send, text: str) -> None:
    await answer(send, 422, body=bad_input(text))


async def _whole(receive: Receive) -> bytes:
    # The wall has read it and gives it in one piece.
    message: Message = await receive()
    body: bytes = message.get("body", b"")
    return body


def _object(scope: Scope, body: bytes) -> dict[str, Any]:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    if not kinds or kinds[0].partition(b";")[0].strip().lower() != b"application/json":
        raise BadInput("content-type", "must be application/json")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput("body", "must be JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise BadInput("body", "must be an object")
    return cast("dict[str, Any]", found)


def _numbered(given: dict[str, Any], route: Route) -> dict[str, Any]:
    for name in route.numbers:
        if name in given:
            if _NUMBER.fullmatch(given[name]) is None:
                raise BadInput(name, "must be a whole number")
            given[name] = int(given[name])
    return given


def _query(scope: Scope) -> dict[str, Any]:
    try:
        listed = parse_qsl(
            scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(scope["query_string"]),
            errors="strict",
            max_num_fields=8,
        )
    except ValueError:
        raise BadInput("query", "must be name=value, in UTF-8, at most 8 of them") from None
    found: dict[str, Any] = {}
    for name, value in listed:
        if name in found or name in ("tenant", "feature"):
            raise BadInput(name[:60], "must be given once")
        found[name] = value
    return found
