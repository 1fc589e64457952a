"""Entitlements: what a tenant may use now, and how much is left. Not who may call, nor what it costs.

Three kinds: boolean (a feature is on or off), static (a number that bounds each single use) and
metered (what is used and reserved together stays within limits). Limits are as in disk quotas: the
hard limit is never passed; the soft limit may be, with a warning, until the grace is over.

What is left is the limit without what is used and the live reservations. A reservation lasts as long
as its resource: nothing is counted up and down, so nothing can drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact
from functools import reduce
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from control_plane.billing.calendar import utc
from control_plane.domain import entitlement as declared
from control_plane.domain.entitlement import BooleanEntitlement, StaticEntitlement
from control_plane.domain.instant import Instant
from control_plane.domain.prices import PLACES_MAX, Quantity
from control_plane.errors import BadInput, Refused

RESERVATIONS_MAX: Final = 10_000  # of one pool

_EXACT = Context(prec=60, traps=[Inexact])
_ZERO = Decimal(0)
_ASKED_DIGITS_MAX = 15  # as of a quantity
_SUM_DIGITS_MAX = 40

ResourceId: TypeAlias = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
Status: TypeAlias = Literal["allowed", "warned", "denied"]
Lift: TypeAlias = Literal["change_plan", "release", "next_period", "usage_known", "ask_for_less"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MeteredEntitlement(declared.MeteredEntitlement):
    """How much may be held in all, and how it stands.

    The grace is counted from `soft_passed_at`. What is used starts again at `resets_at`; None is
    never. Reservations are not reset.
    """

    kind: Literal["metered"] = "metered"
    soft_passed_at: Instant | None = None
    resets_at: Instant | None = None

    def passes_soft(self, held: Decimal) -> bool:
        """Whether so much is above the soft limit."""
        return self.soft_limit is not None and held > self.soft_limit

    def grace_ends_at(self, now: datetime) -> datetime | None:
        """When the grace ends, if it began before or begins `now`; None where it never does."""
        if self.grace_hours is None:
            return None
        return (self.soft_passed_at or utc(now)) + timedelta(hours=self.grace_hours)


Entitlement: TypeAlias = Annotated[
    BooleanEntitlement | StaticEntitlement | MeteredEntitlement, Field(discriminator="kind")
]


class Check(_Strict):
    """The answer. `code` says why it is not plainly `allowed`.

    `remaining` is how much could be asked for at once before this; None is unknown or without
    limit. `lifted_by` names, for `denied`, each single thing after which the same would be allowed;
    a change of plan stands with all that a larger plan can lift. `resets_at` is when the next
    period begins, where that is one of them.
    """

    status: Status
    code: str = ""
    remaining: Quantity | None = None
    lifted_by: tuple[Lift, ...] = ()
    grace_ends_at: Instant | None = None
    resets_at: Instant | None = None


def entitlement_to(entitlements: Iterable[Entitlement], feature: str) -> Entitlement:
    """The entitlement to that feature: what nothing grants is not granted."""
    found = (one for one in entitlements if one.feature == feature)
    return next(found, BooleanEntitlement(kind="boolean", feature=feature, granted=False))


def check(
    entitlement: Entitlement,
    used: Decimal | None,
    reserved: Decimal | None,
    asked: Decimal,
    now: datetime,
) -> Check:
    """Whether `asked` more may be used at `now` (aware); 0 asks only to read what is there.

    `used` is what the meter says, `reserved` what live reservations hold; None is unknown, and then
    writes are denied and reads allowed. No quantity ever denies a read. BadInput for a quantity
    that is negative, of more than nine places, or from 10^15 (asked) or 10^40 on.
    """
    for field, quantity in (("used", used), ("reserved", reserved), ("asked", asked)):
        if quantity is not None:
            _check_quantity(field, quantity)
    match entitlement:
        case BooleanEntitlement():
            return _boolean(entitlement)
        case StaticEntitlement():
            return _static(entitlement, asked)
        case MeteredEntitlement():
            return _metered(entitlement, used, reserved, asked, now)


def _check_quantity(field: str, quantity: Decimal) -> None:
    # Sums of what is used may be larger than any one use.
    digits_max = _SUM_DIGITS_MAX if field in {"used", "reserved"} else _ASKED_DIGITS_MAX
    if not quantity.is_finite() or quantity < 0 or quantity.adjusted() >= digits_max:
        raise BadInput(field, f"must be 0 or more, with at most {digits_max} digits")
    shifted = _EXACT.scaleb(quantity, PLACES_MAX)
    if shifted != shifted.to_integral_value():
        raise BadInput(field, f"must have at most {PLACES_MAX} places")


def _boolean(entitlement: BooleanEntitlement) -> Check:
    if entitlement.granted:
        return Check(status="allowed")
    return Check(status="denied", code="not_entitled", remaining=_ZERO, lifted_by=("change_plan",))


def _static(entitlement: StaticEntitlement, asked: Decimal) -> Check:
    if asked <= entitlement.value:
        return Check(status="allowed", remaining=entitlement.value)
    return Check(
        status="denied",
        code="value_exceeded",
        remaining=entitlement.value,
        lifted_by=("change_plan", "ask_for_less") if entitlement.value else ("change_plan",),
    )


def _metered(
    entitlement: MeteredEntitlement,
    used: Decimal | None,
    reserved: Decimal | None,
    asked: Decimal,
    now: datetime,
) -> Check:
    # A count of a period that is over says nothing of the one that runs.
    stale = entitlement.resets_at is not None and utc(now) >= entitlement.resets_at
    if used is None or reserved is None or stale:
        if asked:
            return Check(status="denied", code="usage_unknown", lifted_by=("usage_known",))
        return Check(status="allowed")
    held = _EXACT.add(used, reserved)
    after = _EXACT.add(held, asked)
    limit, grace_over = _limit(entitlement, held, now)
    remaining = None if limit is None else max(_ZERO, _EXACT.subtract(limit, held))
    if asked and limit is not None and after > limit:
        return _denied(entitlement, used, reserved, asked, limit, grace_over=grace_over)
    if entitlement.passes_soft(after):
        # A grace begins when the limit is first passed, which may be by this very use.
        known = entitlement if entitlement.passes_soft(held) else _at_rest(entitlement)
        return Check(
            status="warned",
            code="soft_limit_passed",
            remaining=remaining,
            grace_ends_at=known.grace_ends_at(now),
        )
    return Check(status="allowed", remaining=remaining)


def _limit(
    entitlement: MeteredEntitlement, held: Decimal, now: datetime
) -> tuple[Decimal | None, bool]:
    """The limit that holds at `now`, and whether it is the soft one because the grace is over."""
    ends_at = entitlement.grace_ends_at(now)
    if entitlement.passes_soft(held) and ends_at is not None and utc(now) >= ends_at:
        return entitlement.soft_limit, True
    return entitlement.hard_limit, False


def _denied(
    entitlement: MeteredEntitlement,
    used: Decimal,
    reserved: Decimal,
    asked: Decimal,
    limit: Decimal,
    *,
    grace_over: bool,
) -> Check:
    remaining = max(_ZERO, _EXACT.subtract(limit, _EXACT.add(used, reserved)))
    # Below the soft limit the grace is over no more, and the hard limit is what holds again.
    ceiling = entitlement.hard_limit
    soft = entitlement.soft_limit if grace_over else None

    def fits(left: Decimal) -> bool:
        return (soft is None or left <= soft) and (
            ceiling is None or _EXACT.add(left, asked) <= ceiling
        )

    resets_at = entitlement.resets_at if fits(reserved) else None
    lifts: list[Lift] = ["change_plan"]
    if fits(used):
        lifts.append("release")
    if resets_at is not None:
        lifts.append("next_period")
    if remaining:
        lifts.append("ask_for_less")
    return Check(
        status="denied",
        remaining=remaining,
        lifted_by=tuple(lifts),
        resets_at=resets_at,
        code="grace_over" if grace_over else "hard_limit_reached",
    )


def _at_rest(entitlement: MeteredEntitlement) -> MeteredEntitlement:
    return entitlement.model_copy(update={"soft_passed_at": None})


def observed(entitlement: MeteredEntitlement, held: Decimal, now: datetime) -> MeteredEntitlement:
    """The entitlement with the start of its grace, once `held` is what is used and reserved.

    A grace begins at `now` where the soft limit is newly passed, and is forgotten at or below it.
    Store the result with every change of what is held: without it, a grace never ends.
    """
    if not entitlement.passes_soft(held):
        return _at_rest(entitlement)
    if entitlement.soft_passed_at is not None:
        return entitlement
    return entitlement.model_copy(update={"soft_passed_at": utc(now)})


class Reservation(_Strict):
    """So much is held by one resource, for as long as it lives."""

    resource: ResourceId
    quantity: Annotated[Quantity, Field(gt=0)]


def _each_resource_once(reservations: tuple[Reservation, ...]) -> tuple[Reservation, ...]:
    # In the order of resources, so that the same pool is equal whatever came first.
    if len({one.resource for one in reservations}) != len(reservations):
        raise ValueError("a resource has only one reservation")
    return tuple(sorted(reservations, key=lambda one: one.resource))


class Pool(_Strict):
    """The live reservations under one entitlement."""

    entitlement: MeteredEntitlement
    reservations: Annotated[
        tuple[Reservation, ...],
        Field(max_length=RESERVATIONS_MAX),
        AfterValidator(_each_resource_once),
    ] = ()

    @property
    def reserved(self) -> Decimal:
        """What the live reservations hold together."""
        return reduce(_EXACT.add, (one.quantity for one in self.reservations), _ZERO)

    def of(self, resource: str) -> Reservation | None:
        """The resource's reservation, if it has one."""
        return next((one for one in self.reservations if one.resource == resource), None)


def reserve(
    pool: Pool, resource: str, quantity: Decimal, used: Decimal | None, now: datetime
) -> tuple[Pool, Check]:
    """The pool with the reservation, and the check that allowed it; the same pool if denied.

    To ask again for what the resource already holds changes nothing, and is allowed. Refused
    `reservation_differs` if it holds another quantity; BadInput as `check`, for a quantity that is
    not above 0, and for more than 10,000 reservations.
    """
    _check_quantity("quantity", quantity)
    if not quantity:
        raise BadInput("quantity", "must be above 0")
    held = pool.of(resource)
    if held is not None:
        if held.quantity != quantity:
            raise Refused(
                "the resource holds another quantity",
                code="reservation_differs",
                rule="entitlement.one_reservation",
            )
        return pool, check(pool.entitlement, used, pool.reserved, _ZERO, now)
    found = check(pool.entitlement, used, pool.reserved, quantity, now)
    if found.status == "denied":
        return pool, found
    if len(pool.reservations) >= RESERVATIONS_MAX:
        raise BadInput("resource", f"must be one of at most {RESERVATIONS_MAX} in a pool")
    added = Reservation(resource=resource, quantity=quantity)
    return _with(pool, (*pool.reservations, added), used, now), found


def release(pool: Pool, resource: str, used: Decimal | None, now: datetime) -> Pool:
    """The pool without the resource's reservation; the same if it has none, as after a retry."""
    left = tuple(one for one in pool.reservations if one.resource != resource)
    return pool if len(left) == len(pool.reservations) else _with(pool, left, used, now)


def _with(
    pool: Pool, reservations: tuple[Reservation, ...], used: Decimal | None, now: datetime
) -> Pool:
    changed = Pool(entitlement=pool.entitlement, reservations=reservations)
    if used is None:
        return changed
    entitlement = observed(pool.entitlement, _EXACT.add(used, changed.reserved), now)
    return Pool(entitlement=entitlement, reservations=changed.reservations)


def require(found: Check) -> Check:
    """The check itself, if it is not denied; else Refused with its code."""
    if found.status == "denied":
        raise Refused(
            "the plan does not allow this",
            code=found.code or None,
            rule="entitlement.check",
            fact="remaining",
        )
    return found
