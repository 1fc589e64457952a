"""Where a provider's events arrive over HTTP: proven on their raw bytes, then kept. No effect of one, and no token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import SecretStr
from starlette.types import Receive, Scope

from control_plane.billing.inbox import BODY_BYTES_MAX, Arrival
from control_plane.billing.inbox import receive as keep
from control_plane.billing.providers.stripe_events import SIGNATURE_HEADER, read_event
from control_plane.errors import BadInput, PaybillError, Refused
from control_plane.ports import Store
from server.dispatch import DeadlineExceeded, Dispatch
from server.http_bodies import BodyTooLarge, read_body

PREFIX: Final = "/hooks/"
OPEN_MAX: Final = 16
THREADS: Final = 4
_DEADLINE_S: Final = 10.0
_UNAVAILABLE: Final = 503

Secrets = Mapping[str, tuple[SecretStr, ...]]


@dataclass(frozen=True)
class Received:
    """What the sender is answered: a status and nothing else. `reason` is for our log alone."""

    status: int
    reason: str = ""

    @property
    def again(self) -> bool:
        """Whether the sender is to try again soon."""
        return self.status == _UNAVAILABLE


class HookDoor:
    """Receives for the providers that have secrets, and knows no other.

    Whoever sends has no token, so all of them together have one bound of requests that are open.
    """

    def __init__(
        self,
        store: Store,
        workspace_public: bytes,
        secrets: Secrets,
        clock: Callable[[], datetime],
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        self._store = store
        self._public = workspace_public
        self._secrets = secrets
        self._clock = clock
        self._body_bytes_max = min(body_bytes_max, BODY_BYTES_MAX)
        self._hop = Dispatch(THREADS, _DEADLINE_S)
        self._open = 0

    def knows(self, path: str) -> bool:
        """Whether the path is that of a provider which is configured."""
        return path.startswith(PREFIX) and path.removeprefix(PREFIX) in self._secrets

    async def taken(self, scope: Scope, receive: Receive) -> Received:
        """Receive one event. Once this says 200 it is committed. Raises ClientGone."""
        if self._open >= OPEN_MAX:
            return Received(_UNAVAILABLE, "hooks_busy")
        self._open += 1
        try:
            body = await read_body(receive, _only(scope, b"content-length"), self._body_bytes_max)
            return await self._hop.run(self._kept, scope, body)
        except BodyTooLarge:
            return Received(413, "body_too_large")
        except DeadlineExceeded:
            return Received(_UNAVAILABLE, "deadline")
        finally:
            self._open -= 1

    def _kept(self, scope: Scope, body: bytes) -> Received:
        provider = str(scope["path"]).removeprefix(PREFIX)
        found = _only(scope, SIGNATURE_HEADER.encode())
        headers = {} if found is None else {SIGNATURE_HEADER: found.decode("latin-1")}
        now = self._clock()
        try:
            event = read_event(self._secrets[provider], headers, body, now)
            if event is None:
                return Received(200)
        except Refused as error:
            return Received(401, error.code)
        except BadInput:
            return Received(400, "webhook_malformed")
        arrival = Arrival(provider=provider, id=event.id, body=body, headers=headers)
        try:
            keep(self._store, self._public, arrival, now)
        except Refused as error:
            return Received(409, error.code)
        except PaybillError as error:
            return Received(_UNAVAILABLE, error.code)
        return Received(200)


def hook_secrets(stripe: Sequence[SecretStr]) -> Secrets:
    """The secrets of each provider that has any."""
    return {"stripe": tuple(stripe)} if stripe else {}


def _only(scope: Scope, name: bytes) -> bytes | None:
    listed = [value for given, value in scope["headers"] if given == name]
    return listed[0] if len(listed) == 1 else None
