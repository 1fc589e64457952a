"""Who is connected to the socket: never more connections than a bound, in all and for one caller. Not their calls."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from control_plane.domain.caller import Caller
from server.dispatch import Dispatch


class NoSeat(Exception):
    """There are enough connections: in all, or of this caller."""


@dataclass
class _Seat:
    dispatch: Dispatch
    connections: int = 0


@dataclass
class Seats:
    """One caller's connections share their threads; no caller can take all the connections.

    ``connections_max`` bounds the connections in all, a quarter of it those of one caller.
    """

    connections_max: int
    threads_max: int
    deadline_s: float
    connections: int = 0
    _seats: dict[tuple[str, str], _Seat] = field(default_factory=dict[tuple[str, str], _Seat])

    @property
    def of_one_caller_max(self) -> int:
        """How many connections one caller may hold: an agent must leave some for its approver."""
        return max(1, self.connections_max // 4)

    @contextmanager
    def arrived(self) -> Generator[None]:
        """Be one connection of all. Raises NoSeat."""
        if self.connections >= self.connections_max:
            raise NoSeat
        self.connections += 1
        try:
            yield
        finally:
            self.connections -= 1

    @contextmanager
    def taken(self, caller: Caller) -> Generator[Dispatch]:
        """Be one connection of this caller, on its threads. Raises NoSeat."""
        who = (caller.principal, caller.actor)
        seat = self._seats.get(who)
        if seat is None:
            seat = self._seats[who] = _Seat(Dispatch(self.threads_max, self.deadline_s))
        if seat.connections >= self.of_one_caller_max:
            raise NoSeat
        seat.connections += 1
        try:
            yield seat.dispatch
        finally:
            seat.connections -= 1
            if not seat.connections:
                del self._seats[who]
