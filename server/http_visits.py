"""One request over HTTP that brought a proven token: whose it is, on which threads it runs. Proves nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar, TypeVarTuple

from control_plane.domain.caller import Caller
from control_plane.errors import PaybillError, Refused
from control_plane.ports import Clock
from server.dispatch import Dispatch
from server.tokens import Unauthenticated

T = TypeVar("T")
Args = TypeVarTuple("Args")

REQUESTS_OF_ONE_MAX: Final = 32


class TooManyRequests(Exception):
    """One caller has enough requests open."""


class Forbidden(Refused):
    """The token is good, and opens nothing here. `code` is for the log."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A token whose signature and audience hold. Its grant has not been read."""

    holder: str
    """Whose share of threads and requests this is."""
    expires_s: float
    """Until when what was proven may be remembered, in seconds since the epoch."""
    caller: Callable[[datetime], Caller]
    """Reads the grant's row; raises Unauthenticated."""
    thumbprint: str | None = None
    """The key whose possession each request must prove."""


@dataclass(slots=True)
class Visit:
    """What is known of the request that is under way."""

    proven: Proven
    hop: Dispatch
    services: bool = False
    """Whether what is asked takes a service's token."""
    known: bool = False
    failed: PaybillError | None = None


CURRENT: Final[ContextVar[Visit | None]] = ContextVar("paybill_http_visit", default=None)


class VisitCaller:
    """Makes the caller of the request under way, from the grant's row, on the thread of the call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self) -> Caller:
        visit = CURRENT.get()
        if visit is None:
            raise Unauthenticated("token_absent")
        try:
            caller = visit.proven.caller(self._clock.now())
        except Unauthenticated as error:
            visit.failed = error
            raise
        if caller.actor_kind == "service" and not visit.services:
            visit.failed = Forbidden(
                "A service's token is for the integration API alone.", code="not_for_services"
            )
            raise visit.failed
        visit.known = True
        return caller


class VisitHop:
    """Takes a call to the threads of the request's own caller."""

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """As `Dispatch.run`."""
        visit = CURRENT.get()
        if visit is None:
            raise Unauthenticated("token_absent")
        return await visit.hop.run(function, *args)


@dataclass
class _Share:
    hop: Dispatch
    requests: int = 0


@dataclass
class Shares:
    """Each caller's own threads, and never more requests of one caller than a bound."""

    threads_max: int
    deadline_s: float
    _held: dict[str, _Share] = field(default_factory=dict[str, _Share])

    @contextmanager
    def taken(self, holder: str) -> Generator[Dispatch]:
        """Be one request of this caller. Raises TooManyRequests."""
        share = self._held.get(holder)
        if share is None:
            share = self._held[holder] = _Share(Dispatch(self.threads_max, self.deadline_s))
        if share.requests >= REQUESTS_OF_ONE_MAX:
            raise TooManyRequests
        share.requests += 1
        try:
            yield share.hop
        finally:
            share.requests -= 1
            if not share.requests:
                del self._held[holder]
