"""A tenant's pool of seats: who holds one, never more than there are. Not their price, and not where they are kept.

Every rule is a function from a pool to a pool, so that whoever keeps it does so in one transaction.
A holder has one seat at most. A seat is the holder's for as long as the holder lives: it has no time
limit of its own, because a reservation that ends before the work it was made for lets two have the
same seat. Where the holder has an end of its own, as an invitation has, the seat ends with it.

Only instants decide what holds at an instant, never whether somebody swept in time: what is over by
`now` counts no more in any function here, and settling late gives the same pool as settling often.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.instant import Instant
from control_plane.domain.money import MINOR_MAX
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput, Refused

HolderId: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
SeatCount: TypeAlias = Annotated[int, Field(ge=0, le=MINOR_MAX)]
Held: TypeAlias = Literal["reserved", "assigned"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Seat(_Strict):
    """One seat: whose it is, since when, and until when at most; None is until it is released."""

    holder: HolderId
    held: Held
    since: Instant
    holder_ends_at: Instant | None = None

    def over(self, now: datetime) -> bool:
        """Whether the holder has ended by `now` (aware)."""
        return self.holder_ends_at is not None and now >= self.holder_ends_at


def _in_order(seats: tuple[Seat, ...]) -> tuple[Seat, ...]:
    if len({seat.holder for seat in seats}) != len(seats):
        raise ValueError("a holder has one seat")
    return tuple(sorted(seats, key=lambda seat: (seat.since, seat.holder)))


class Shrink(_Strict):
    """A smaller size, from an instant on."""

    size: SeatCount
    at: Instant


class SeatPool(_Strict):
    """How many seats a tenant has, and who holds them, the oldest first, in whatever order given."""

    tenant: TenantId
    size: SeatCount
    seats: Annotated[tuple[Seat, ...], AfterValidator(_in_order)] = ()
    shrink: Shrink | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.seats) > self.size:
            raise ValueError("there are no more holders than seats")
        if self.shrink is not None and self.shrink.size >= self.size:
            raise ValueError("a pool shrinks to less than it has")
        return self

    def seat_of(self, holder: str, now: datetime) -> Seat | None:
        """The holder's seat at `now` (aware), or None."""
        return next((seat for seat in settled(self, now).seats if seat.holder == holder), None)

    def free(self, now: datetime) -> int:
        """How many seats may be taken at `now` (aware)."""
        current = settled(self, now)
        return current.size - len(current.seats)


def assign(
    pool: SeatPool, holder: str, now: datetime, *, holder_ends_at: datetime | None = None
) -> SeatPool:
    """The pool in which the holder has a seat; a reservation of the holder becomes that seat.

    Repeated it changes nothing, save that a later end, or none, replaces an earlier one. Instants
    are aware. Refused (`seats_full`); BadInput for an end that is not in the future.
    """
    return _taken(pool, holder, "assigned", now, holder_ends_at)


def reserve(
    pool: SeatPool, holder: str, now: datetime, *, holder_ends_at: datetime | None = None
) -> SeatPool:
    """The pool in which a seat is kept for the holder until it is assigned or released, or the holder ends.

    Repeated it changes nothing, save the end as in `assign`; nor does it undo an assignment.
    Refused (`seats_full`); BadInput for an end that is not in the future.
    """
    return _taken(pool, holder, "reserved", now, holder_ends_at)


def release(pool: SeatPool, holder: str, now: datetime) -> SeatPool:
    """The pool in which the holder has no seat; nothing changes where there was none."""
    current = settled(pool, now)
    return _with_seats(current, tuple(one for one in current.seats if one.holder != holder))


def resize(pool: SeatPool, size: int, now: datetime) -> SeatPool:
    """The pool with `size` seats at once; a shrink that was scheduled is dropped.

    Refused (`seats_in_use`) when more than `size` are held: `must_go` says which would have to be
    released first, and `schedule_shrink` lets them go at a later instant.
    """
    current = settled(pool, now)
    if len(current.seats) > size:
        raise Refused(
            "more seats are held than would remain",
            code="seats_in_use",
            rule="seats.never_over",
            fact="seats",
        )
    return SeatPool(tenant=current.tenant, size=size, seats=current.seats)


def schedule_shrink(pool: SeatPool, size: int, at: datetime, now: datetime) -> SeatPool:
    """The pool that has `size` seats from `at` on; until then it is used as before.

    At that instant the seats of `must_go` are over, unless enough were released before. A later
    call replaces an earlier one, and `resize` drops it. BadInput when `at` is not in the future, or
    `size` is not smaller than what there is.
    """
    current = settled(pool, now)
    if at <= now:
        raise BadInput("at", "must be after now")
    if size >= current.size:
        raise BadInput("size", "must be smaller than the pool")
    shrink = Shrink(size=size, at=at)
    return SeatPool(tenant=current.tenant, size=current.size, seats=current.seats, shrink=shrink)


def must_go(pool: SeatPool, size: int, now: datetime) -> tuple[Seat, ...]:
    """The seats that have no room in a pool of `size`, in the order in which they go; none if all fit.

    Whoever came last goes first. Reservations go after all assigned seats, since what they were
    made for may be under way.
    """
    return _beyond(settled(pool, now).seats, size)


def leaving(pool: SeatPool) -> tuple[Seat, ...]:
    """The seats that go with the shrink that is scheduled, as things stand; none if there is none."""
    if pool.shrink is None:
        return ()
    return _beyond(_living(pool.seats, pool.shrink.at), pool.shrink.size)


def settled(pool: SeatPool, now: datetime) -> SeatPool:
    """The pool as it is at `now` (aware): without whoever has ended, and shrunk if that was due."""
    if pool.shrink is None or now < pool.shrink.at:
        return _with_seats(pool, _living(pool.seats, now))
    gone = {seat.holder for seat in leaving(pool)}
    rest = tuple(seat for seat in _living(pool.seats, pool.shrink.at) if seat.holder not in gone)
    return SeatPool(tenant=pool.tenant, size=pool.shrink.size, seats=_living(rest, now))


def _taken(
    pool: SeatPool, holder: str, held: Held, now: datetime, ends_at: datetime | None
) -> SeatPool:
    if ends_at is not None and ends_at <= now:
        raise BadInput("holder_ends_at", "must be after now")
    current = settled(pool, now)
    before = next((seat for seat in current.seats if seat.holder == holder), None)
    if before is None:
        if len(current.seats) >= current.size:
            raise Refused(
                "every seat is taken", code="seats_full", rule="seats.never_over", fact="seats"
            )
        seat = Seat(holder=holder, held=held, since=now, holder_ends_at=ends_at)
        return _with_seats(current, (*current.seats, seat))
    seat = Seat(
        holder=holder,
        held="assigned" if before.held == "assigned" else held,
        since=before.since,
        holder_ends_at=_later(before.holder_ends_at, ends_at),
    )
    if seat == before:
        return current
    others = tuple(one for one in current.seats if one.holder != holder)
    return _with_seats(current, (*others, seat))


def _beyond(seats: tuple[Seat, ...], size: int) -> tuple[Seat, ...]:
    newest = seats[::-1]
    assigned = (seat for seat in newest if seat.held == "assigned")
    reserved = (seat for seat in newest if seat.held == "reserved")
    return (*assigned, *reserved)[: max(0, len(seats) - size)]


def _living(seats: tuple[Seat, ...], now: datetime) -> tuple[Seat, ...]:
    return tuple(seat for seat in seats if not seat.over(now))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


def _with_seats(pool: SeatPool, seats: tuple[Seat, ...]) -> SeatPool:
    if seats == pool.seats:
        return pool
    return SeatPool(tenant=pool.tenant, size=pool.size, seats=seats, shrink=pool.shrink)
