"""Quotas as they are kept: what is reserved, and since when a soft limit is passed. Not the limits.

What is held is what the running period has used and what resources have reserved: both are read, and
no count of them is kept. What is read must not change before it is acted on: reserve, release and
observe in a `Store.write` of the tenant.

A soft limit that was passed in an earlier period stays passed only where the reservations alone pass
it: what was used is 0 again when a period begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from control_plane.billing import entitlements
from control_plane.billing.calendar import Period
from control_plane.billing.entitlements import (
    Check,
    MeteredEntitlement,
    Pool,
    Reservation,
    observed,
)
from control_plane.billing.usage_store import used
from control_plane.domain import entitlement as declared
from control_plane.domain.canonical import instant
from control_plane.store.usage_tables import reservation, soft_limit_passed

_EXACT = Context(prec=60, traps=[Inexact])
_ZERO: Final = Decimal(0)

# Made once: to build a statement costs more than to run it. Equal quantities are one row of it.
_LIVING: Final = (reservation.c.tenant == bindparam("tenant")) & (
    reservation.c.expires_at.is_(None) | (reservation.c.expires_at > bindparam("now"))
)
_RESERVED: Final = (
    select(reservation.c.feature, reservation.c.quantity, func.count().label("many"))
    .where(_LIVING)
    .group_by(reservation.c.feature, reservation.c.quantity)
)
_PASSED: Final = select(soft_limit_passed.c.feature, soft_limit_passed.c.passed_at).where(
    soft_limit_passed.c.tenant == bindparam("tenant")
)


class Standing(NamedTuple):
    """How a metered entitlement stands: with its grace and its reset, what is used and reserved."""

    entitlement: MeteredEntitlement
    used: Decimal
    reserved: Decimal

    @property
    def held(self) -> Decimal:
        """What is used and reserved together."""
        return _EXACT.add(self.used, self.reserved)

    def check(self, asked: Decimal, now: datetime) -> Check:
        """Whether `asked` more may be used at `now`; 0 asks only to read what is there."""
        return entitlements.check(self.entitlement, self.used, self.reserved, asked, now)


class Quotas:
    """What one tenant holds at `now` (aware) in the period that runs, read once; three statements."""

    def __init__(self, connection: Connection, tenant: str, period: Period, now: datetime) -> None:
        self._connection = connection
        self._tenant = tenant
        self._now = instant(now)
        self._period = period
        self._used = used(connection, tenant, period.start)
        self._reserved = dict[str, Decimal]()
        for row in connection.execute(_RESERVED, {"tenant": tenant, "now": self._now}):
            held = _EXACT.multiply(Decimal(row.quantity), Decimal(row.many))
            self._reserved[row.feature] = _EXACT.add(self._reserved.get(row.feature, _ZERO), held)
        self._passed = {
            row.feature: datetime.fromisoformat(row.passed_at)
            for row in connection.execute(_PASSED, {"tenant": tenant})
        }

    def used(self, feature: str) -> Decimal:
        """What its meter comes to."""
        return self._used.get(feature, _ZERO)

    def reserved(self, feature: str) -> Decimal:
        """What the live reservations hold together."""
        return self._reserved.get(feature, _ZERO)

    def held_by(self, feature: str, resource: str) -> Decimal | None:
        """What a live reservation holds for that resource; None without one. One statement."""
        mine = _LIVING & (reservation.c.feature == feature) & (reservation.c.resource == resource)
        given = {"tenant": self._tenant, "now": self._now}
        found = self._connection.execute(select(reservation.c.quantity).where(mine), given)
        held = found.scalar_one_or_none()
        return None if held is None else Decimal(held)

    def standing(self, granted: declared.MeteredEntitlement) -> Standing:
        """How it stands now."""
        of, reserved = granted.feature, self.reserved(granted.feature)
        entitlement = MeteredEntitlement(
            **granted.model_dump(),
            soft_passed_at=self._passed.get(of),
            resets_at=self._period.end,
        )
        passed_at = entitlement.soft_passed_at
        if passed_at is not None and passed_at < self._period.start:
            entitlement = observed(entitlement, reserved, self._period.start)
        return Standing(entitlement, self.used(of), reserved)

    def observe(self, granted: Iterable[declared.MeteredEntitlement], now: datetime) -> None:
        """Keep since when the soft limits are passed, after what is held has changed.

        Without it a grace never ends. One statement for each entitlement that changes.
        """
        for one in granted:
            standing = self.standing(one)
            found = observed(standing.entitlement, standing.held, now)
            self._keep(one.feature, found.soft_passed_at)

    def reserve(
        self,
        granted: declared.MeteredEntitlement,
        resource: str,
        quantity: Decimal,
        now: datetime,
        *,
        until: datetime | None = None,
    ) -> Check:
        """Hold so much for a resource, unless it is denied; as `entitlements.reserve`.

        It ends at `until`, should nobody release it; None is never. Of two such instants for one
        reservation the last one given holds.
        """
        self._sweep()
        standing = self.standing(granted)
        before = Pool(
            entitlement=standing.entitlement, reservations=self._reservations(granted.feature)
        )
        after, found = entitlements.reserve(before, resource, quantity, standing.used, now)
        if after is not before:
            held = after.of(resource)
            assert held is not None, "the pool has what was reserved"
            self._connection.execute(
                insert(reservation).values(
                    tenant=self._tenant,
                    feature=granted.feature,
                    resource=resource,
                    quantity=format(held.quantity, "f"),
                    reserved_at=instant(now),
                    expires_at=_instant(until),
                )
            )
            self._settle(granted.feature, after)
        elif found.status != "denied":
            held_for = self._named(granted.feature, resource)
            values = {"expires_at": _instant(until)}
            self._connection.execute(update(reservation).where(held_for).values(**values))
        return found

    def release(self, granted: declared.MeteredEntitlement, resource: str, now: datetime) -> bool:
        """Let go of what a resource holds; False when it holds nothing, as after a retry.

        Of a feature that nothing grants any more, it is given without limits.
        """
        standing = self.standing(granted)
        before = Pool(
            entitlement=standing.entitlement, reservations=self._reservations(granted.feature)
        )
        after = entitlements.release(before, resource, standing.used, now)
        if after is before:
            return False
        held_for = self._named(granted.feature, resource)
        self._connection.execute(delete(reservation).where(held_for))
        self._settle(granted.feature, after)
        return True

    def _reservations(self, feature: str) -> tuple[Reservation, ...]:
        table = reservation.c
        mine = select(table.resource, table.quantity).where(_LIVING & (table.feature == feature))
        found = self._connection.execute(mine, {"tenant": self._tenant, "now": self._now})
        return tuple(
            Reservation(resource=row.resource, quantity=Decimal(row.quantity)) for row in found
        )

    def _named(self, feature: str, resource: str) -> ColumnElement[bool]:
        table = reservation.c
        mine = (table.tenant == self._tenant) & (table.feature == feature)
        return mine & (table.resource == resource)

    def _sweep(self) -> None:
        # What has ended counts no more, and must not stand in the way of the same resource.
        ended = (reservation.c.tenant == self._tenant) & (reservation.c.expires_at <= self._now)
        self._connection.execute(delete(reservation).where(ended))

    def _settle(self, feature: str, pool: Pool) -> None:
        self._reserved[feature] = pool.reserved
        self._keep(feature, pool.entitlement.soft_passed_at)

    def _keep(self, feature: str, passed_at: datetime | None) -> None:
        before = self._passed.get(feature)
        if before == passed_at:
            return
        table = soft_limit_passed
        mine = (table.c.tenant == self._tenant) & (table.c.feature == feature)
        if passed_at is None:
            self._connection.execute(delete(table).where(mine))
            del self._passed[feature]
            return
        values = {"passed_at": instant(passed_at)}
        if before is None:
            named = {"tenant": self._tenant, "feature": feature}
            self._connection.execute(insert(table).values(**named, **values))
        else:
            self._connection.execute(update(table).where(mine).values(**values))
        self._passed[feature] = passed_at


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)
