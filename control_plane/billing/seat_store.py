"""A tenant's seats as they are kept: a row each, changed by the rules of `seats.py`. Not those rules, nor who may.

Every change loads the pool, lets a rule make another of it and writes the difference, in the
transaction that is given. What is about one holder needs of the others only how many they are: for
it the pool is loaded without them, and smaller by as many. The transaction must be a `Store.write` of the tenant, or of the whole store: it
has its lock before it reads, so of two writers of one tenant the second sees what the first has
committed, and the seats are never over. How many there are is told by the caller out of the same
transaction, so that it cannot change meanwhile either.

A pool that was made smaller than what is held has room for none until enough are released.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from control_plane.billing import seats
from control_plane.billing.seats import Seat, SeatPool
from control_plane.domain.canonical import instant
from control_plane.domain.charge import SEATS
from control_plane.domain.plans import PlanCatalog
from control_plane.domain.subscription import Subscription
from control_plane.errors import NotFound
from control_plane.store.seat_tables import seat as table

PAGE_MAX: Final = 1000


class Held(NamedTuple):
    """How many seats a tenant's users hold at an instant, of each kind."""

    assigned: int
    reserved: int

    @property
    def all(self) -> int:
        """How many are not free."""
        return self.assigned + self.reserved


class Sizes(NamedTuple):
    """How many seats there are, and how many there may be on the plan without another one."""

    size: int
    size_max: int


# Made once: to build a statement costs more than to run it.
_TENANT: Final = table.c.tenant == bindparam("tenant")
_HOLDER: Final = table.c.holder == bindparam("holder")
_LIVING: Final[ColumnElement[bool]] = table.c.reserved_until.is_(None) | (
    table.c.reserved_until > bindparam("now")
)
_POOL: Final = select(table).where(_TENANT, _LIVING)
_SWEEP: Final = delete(table).where(_TENANT, ~_LIVING)
_ONE: Final = select(table).where(_TENANT, _HOLDER, _LIVING)
_COUNT: Final = select(
    func.count(case((table.c.reserved_until.is_(None), 1))).label("assigned"),
    func.count(table.c.reserved_until).label("reserved"),
).where(_TENANT, _LIVING)
_PAGE: Final = (
    select(table)
    .where(_TENANT, _LIVING, table.c.holder > bindparam("after"))
    .order_by(table.c.holder)
    .limit(bindparam("size"))
)


def sizes(subscription: Subscription | None, plans: PlanCatalog) -> Sizes:
    """How many seats a tenant has by its subscription: those paid for, within the plan's quota.

    Where seats cost nothing, and none were agreed on, it is the quota. None without a subscription,
    or on a version of a plan that is declared no more: then seats are only released.
    """
    if subscription is None:
        return Sizes(0, 0)
    try:
        offer = plans.offer(subscription.plan, subscription.plan_version)
    except NotFound:
        return Sizes(0, 0)
    quota, terms = offer.quotas.seats_max, subscription.terms
    if terms is None or (not terms.seats and offer.charge(SEATS, terms.interval) is None):
        return Sizes(quota, quota)
    return Sizes(min(terms.seats, quota), quota)


# Reading ---------------------------------------------------------------------------------------


def held(connection: Connection, tenant: str, now: datetime) -> Held:
    """How many seats are held at `now` (aware). One statement."""
    row = connection.execute(_COUNT, {"tenant": tenant, "now": instant(now)}).one()
    return Held(int(row.assigned), int(row.reserved))


def seat_of(connection: Connection, tenant: str, holder: str, now: datetime) -> Seat | None:
    """The holder's seat at `now` (aware), or None. One statement."""
    given = {"tenant": tenant, "holder": holder, "now": instant(now)}
    row = connection.execute(_ONE, given).first()
    return None if row is None else _seat(row)


def page(
    connection: Connection, tenant: str, now: datetime, *, after: str = "", size: int = 100
) -> list[Seat]:
    """At most `size` seats that are held at `now` (aware), by holder, those behind `after`."""
    given = {"tenant": tenant, "now": instant(now), "after": after, "size": min(size, PAGE_MAX)}
    return [_seat(row) for row in connection.execute(_PAGE, given)]


def load(connection: Connection, tenant: str, size: int, now: datetime) -> SeatPool:
    """The pool of `size` seats at `now` (aware); too small for its holders, it is as large as they need."""
    given = {"tenant": tenant, "now": instant(now)}
    kept = tuple(_seat(row) for row in connection.execute(_POOL, given))
    return SeatPool(tenant=tenant, size=max(size, len(kept)), seats=kept)


def load_for(
    connection: Connection, tenant: str, holder: str, size: int, now: datetime
) -> SeatPool:
    """What is left of that pool for one holder: their seat, and as many as the others leave free."""
    own = seat_of(connection, tenant, holder, now)
    kept = () if own is None else (own,)
    others = held(connection, tenant, now).all - len(kept)
    return SeatPool(tenant=tenant, size=max(size - others, len(kept)), seats=kept)


def require_fit(connection: Connection, tenant: str, size: int, now: datetime) -> None:
    """See that a pool of `size` has room for all who hold a seat. Refused (`seats_in_use`)."""
    seats.resize(load(connection, tenant, size, now), size, now)


def leaving(connection: Connection, tenant: str, size: int, now: datetime) -> tuple[Seat, ...]:
    """The seats that have no room in a pool of `size`, in the order in which they would go."""
    return seats.must_go(load(connection, tenant, size, now), size, now)


# Changing --------------------------------------------------------------------------------------


def assign(
    connection: Connection, tenant: str, holder: str, *, size: int, now: datetime, by: str
) -> bool:
    """Give the holder a seat; False where they held or had reserved one. Refused (`seats_full`)."""
    before = load_for(connection, tenant, holder, size, now)
    after = seats.assign(before, holder, now)
    _write(connection, before, after, now, by)
    return len(after.seats) > len(before.seats)


def reserve(
    connection: Connection,
    tenant: str,
    holder: str,
    until: datetime,
    *,
    size: int,
    now: datetime,
    by: str,
) -> bool:
    """Keep a seat for the holder until an instant; False where they have one already.

    A later instant replaces an earlier one; what is assigned stays so. Refused (`seats_full`);
    BadInput for an instant that is not after `now`.
    """
    before = load_for(connection, tenant, holder, size, now)
    after = seats.reserve(before, holder, now, holder_ends_at=until)
    _write(connection, before, after, now, by)
    return len(after.seats) > len(before.seats)


def release(connection: Connection, tenant: str, holder: str, *, now: datetime) -> bool:
    """Take the holder's seat back; False where they have none."""
    before = load_for(connection, tenant, holder, 0, now)
    after = seats.release(before, holder, now)
    _write(connection, before, after, now, "")
    return len(after.seats) < len(before.seats)


def resize(connection: Connection, tenant: str, size: int, now: datetime) -> None:
    """Make the pool one of `size`: who makes it smaller says so here. Refused (`seats_in_use`)."""
    before = load(connection, tenant, size, now)
    _write(connection, before, seats.resize(before, size, now), now, "")


def let_go(connection: Connection, tenant: str, size: int, now: datetime) -> tuple[Seat, ...]:
    """Release the seats that have no room in a pool of `size`; those that went, in their order."""
    before = load(connection, tenant, size, now)
    going = seats.must_go(before, size, now)
    gone = {one.holder for one in going}
    rest = tuple(one for one in before.seats if one.holder not in gone)
    _write(connection, before, SeatPool(tenant=tenant, size=size, seats=rest), now, "")
    return going


def _write(
    connection: Connection, before: SeatPool, after: SeatPool, now: datetime, by: str
) -> None:
    tenant = before.tenant
    # First what goes, and with it whoever has ended: at no instant are there more rows than seats.
    connection.execute(_SWEEP, {"tenant": tenant, "now": instant(now)})
    stood = {one.holder: one for one in before.seats}
    stands = {one.holder: one for one in after.seats}
    gone = [{"tenant": tenant, "holder": holder} for holder in stood.keys() - stands.keys()]
    if gone:
        connection.execute(delete(table).where(_TENANT, _HOLDER), gone)
    for holder in sorted(stands.keys() & stood.keys()):
        if stands[holder] != stood[holder]:
            where = (table.c.tenant == tenant) & (table.c.holder == holder)
            until = _until(stands[holder])
            connection.execute(update(table).where(where).values(reserved_until=until))
    made = [_row(tenant, stands[holder], by) for holder in sorted(stands.keys() - stood.keys())]
    if made:
        connection.execute(insert(table), made)


def _row(tenant: str, one: Seat, by: str) -> dict[str, str | None]:
    return {
        "tenant": tenant,
        "holder": one.holder,
        "assigned_at": instant(one.since),
        "reserved_until": _until(one),
        "assigned_by": by,
    }


def _until(one: Seat) -> str | None:
    return None if one.holder_ends_at is None else instant(one.holder_ends_at)


def _seat(row: Row[Any]) -> Seat:
    until = row.reserved_until
    return Seat(
        holder=row.holder,
        held="assigned" if until is None else "reserved",
        since=datetime.fromisoformat(row.assigned_at),
        holder_ends_at=None if until is None else datetime.fromisoformat(until),
    )
