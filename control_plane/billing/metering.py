"""Usage: which events count, in which period, and what they add up to. Not what it costs, nor a store.

An event counts once: source and id together say which one it is. The same identity with other
content is a conflict and no duplicate. What a period's usage is hangs on the set of events that were
accepted alone: not on their order, nor on how they were put into batches.

An event belongs to the period in which it occurred, until the meter's deadline after that period's
end. Then the period is closed for good: the event is refused, or counts in the first open period.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from control_plane.billing.calendar import Cycle, Period, ZoneName, boundary, period_at, utc
from control_plane.domain.instant import Instant
from control_plane.domain.prices import Quantity
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput

BATCH_MAX: Final = 1_000
LATE_HOURS_MAX: Final = 24 * 90
AHEAD_MAX: Final = timedelta(minutes=5)  # by which a sender's clock may be fast

# A sum is exact or an error, whatever precision the process sets.
_EXACT = Context(prec=60, traps=[Inexact])
_PLAIN = re.compile(r"[0-9]{1,40}(\.[0-9]{1,9})?")

Name: TypeAlias = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
MeterName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Identity: TypeAlias = tuple[str, str]  # source, id
Aggregation: TypeAlias = Literal["sum", "count", "max", "last", "unique"]
Status: TypeAlias = Literal["accepted", "duplicate", "conflict", "late", "unknown_meter", "invalid"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _in_years(instant: datetime) -> datetime:
    # Before anything else: at the ends of the calendar, a change of zone overflows.
    try:
        return utc(instant)
    except BadInput as error:
        raise ValueError(error.rule) from None


Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_in_years)]


class UsageEvent(_Strict):
    """One use of a meter by a tenant; instants are aware, the quantity is a decimal as text.

    `source` and `id` are as in CloudEvents: together they name one event. `key` is what the meter
    `unique` counts once. `received_at` is ours, and no part of the content.
    """

    source: Name
    id: Name
    tenant: TenantId
    meter: MeterName
    occurred_at: Moment
    received_at: Moment
    quantity: Quantity = Decimal(1)
    key: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")

    @property
    def identity(self) -> Identity:
        """Which event it is: source and id."""
        return self.source, self.id

    def digest(self) -> str:
        """SHA-256 of what the sender said; when it came does not count."""
        # No part can hold a line break. Canonical JSON says the same in five times the time, which
        # would be half of what a batch takes. A decimal's own text may be in powers of ten.
        named = f"{self.source}\n{self.id}\n{self.tenant}\n{self.meter}\n{self.key}"
        told = f"{named}\n{self.occurred_at.isoformat()}\n{self.quantity:f}"
        return sha256(told.encode()).hexdigest()


class Meter(_Strict):
    """What of the events is counted, and how long after a period's end one may still come.

    `sum` adds quantities, `count` counts events, `max` is the highest quantity and `last` the one
    that occurred last, `unique` counts distinct keys. An event that is late is refused, or with
    `next_period` counts in the first period that is still open.
    """

    name: MeterName
    aggregation: Aggregation
    late_hours: int = Field(default=24, ge=0, le=LATE_HOURS_MAX)
    late: Literal["refuse", "next_period"] = "refuse"

    def deadline(self, period: Period) -> datetime:
        """The UTC instant from which the period takes no more events."""
        return utc(period.end) + self.open_for

    @property
    def open_for(self) -> timedelta:
        """How long after its end a period still takes events."""
        return timedelta(hours=self.late_hours)


class Schedule(_Strict):
    """A tenant's billing periods: anchor, cycle and zone. The first begins at the anchor."""

    anchor: AwareDatetime
    cycle: Cycle
    zone: ZoneName

    @property
    def start(self) -> datetime:
        """The UTC instant at which the first period begins."""
        return boundary(self.anchor, self.cycle, self.zone, 0)

    def period_at(self, instant: datetime) -> Period:
        """The period that holds the aware `instant`; BadInput outside of the years 1970 to 2999."""
        return period_at(self.anchor, self.cycle, self.zone, instant)


class Verdict(_Strict):
    """What became of one event. `period` stands with `accepted` alone: where it counts.

    `code` says why an event was not accepted. `moved` is for a late one in a later period.
    """

    status: Status
    digest: str
    code: str = ""
    period: Period | None = None
    moved: bool = False


def judge(
    events: Sequence[UsageEvent],
    meters: Mapping[str, Meter],
    schedules: Mapping[str, Schedule],
    recorded: Mapping[Identity, str],
) -> tuple[Verdict, ...]:
    """One verdict for each event, in order; one event never decides over another identity.

    `meters` by name, `schedules` by tenant. `recorded` gives the digest of every identity of the
    batch that was accepted before; those of the batch itself are added in order. What was accepted
    once is a duplicate ever after, whatever has changed since. BadInput for none, or over 1,000.
    """
    if not 1 <= len(events) <= BATCH_MAX:
        raise BadInput("events", f"must be 1 to {BATCH_MAX}")
    known, verdicts = dict[Identity, str](), list[Verdict]()
    periods = _Periods(schedules)
    for event in events:
        before = known.get(event.identity) or recorded.get(event.identity)
        verdict = _judged(event, meters, periods, before)
        if verdict.status == "accepted":
            known[event.identity] = verdict.digest
        verdicts.append(verdict)
    return tuple(verdicts)


class _Periods:
    # Most events of a batch share a period; to find it anew each time takes half of all the time.
    def __init__(self, schedules: Mapping[str, Schedule]) -> None:
        self._schedules = schedules
        self._found = dict[str, Period]()

    def at(self, tenant: str, instant: datetime) -> Period | None:
        found = self._found.get(tenant)
        if found is not None and found.start <= instant < found.end:
            return found
        schedule = self._schedules.get(tenant)
        # Use from before the first period has no price; nor has that of a tenant without periods.
        if schedule is None or instant < schedule.start:
            return None
        self._found[tenant] = found = schedule.period_at(instant)
        return found


def _judged(
    event: UsageEvent,
    meters: Mapping[str, Meter],
    periods: _Periods,
    before: str | None,
) -> Verdict:
    digest = event.digest()
    if before == digest:
        return Verdict(status="duplicate", digest=digest)
    if before is not None:
        return Verdict(status="conflict", digest=digest, code="usage_conflict")
    meter = meters.get(event.meter)
    if meter is None:
        return Verdict(status="unknown_meter", digest=digest, code="meter_unknown")
    own = periods.at(event.tenant, event.occurred_at)
    if own is None:
        return Verdict(status="invalid", digest=digest, code="usage_without_period")
    if meter.aggregation == "unique" and not event.key:
        return Verdict(status="invalid", digest=digest, code="usage_without_key")
    # A reading from the future would stay the last one, and would keep a period open.
    if event.occurred_at > event.received_at + AHEAD_MAX:
        return Verdict(status="invalid", digest=digest, code="usage_ahead")
    late = event.received_at >= meter.deadline(own)
    if late and meter.late == "refuse":
        return Verdict(status="late", digest=digest, code="usage_late")
    # The first open period is the one that was running so many hours ago.
    period = periods.at(event.tenant, event.received_at - meter.open_for) if late else own
    return Verdict(status="accepted", digest=digest, period=period, moved=late)


def _total(value: object) -> Decimal:
    # Of text alone: a number of JSON may have been a float.
    match value:
        case Decimal() if value.is_finite() and value >= 0:
            return value
        case str() if _PLAIN.fullmatch(value):
            return Decimal(value)
        case _:
            raise ValueError("must be 0 or more, in plain digits as text")


def _text(value: Decimal) -> str:
    return format(value, "f")


Total: TypeAlias = Annotated[
    Decimal, BeforeValidator(_total), PlainSerializer(_text, when_used="json")
]


class SumTally(_Strict):
    """The sum of quantities, exact; it may be larger than any one quantity."""

    aggregation: Literal["sum"] = "sum"
    total: Total = Decimal(0)


class CountTally(_Strict):
    """How many events."""

    aggregation: Literal["count"] = "count"
    events: int = Field(default=0, ge=0)


class MaxTally(_Strict):
    """The highest quantity; 0 without events."""

    aggregation: Literal["max"] = "max"
    highest: Quantity = Decimal(0)


class LastTally(_Strict):
    """The quantity that occurred last; of two at one instant, that with the greater identity.

    0 without events: a reading is not carried into the next period.
    """

    aggregation: Literal["last"] = "last"
    occurred_at: Instant | None = None
    source: str = ""
    id: str = ""
    reading: Quantity = Decimal(0)

    def comes_after(self, other: LastTally) -> bool:
        """Whether this reading stands where both are known."""
        if self.occurred_at is None or other.occurred_at is None:
            return other.occurred_at is None
        return (self.occurred_at, self.source, self.id) > (
            other.occurred_at,
            other.source,
            other.id,
        )


class UniqueTally(_Strict):
    """The distinct keys. It holds them all, since counts of distinct things cannot be added."""

    aggregation: Literal["unique"] = "unique"
    keys: frozenset[str] = frozenset()


Tally: TypeAlias = Annotated[
    SumTally | CountTally | MaxTally | LastTally | UniqueTally, Field(discriminator="aggregation")
]


def empty(aggregation: Aggregation) -> Tally:
    """The tally of no events: merged with another, it changes nothing."""
    match aggregation:
        case "sum":
            return SumTally()
        case "count":
            return CountTally()
        case "max":
            return MaxTally()
        case "last":
            return LastTally()
        case "unique":
            return UniqueTally()


def tally_of(aggregation: Aggregation, event: UsageEvent) -> Tally:
    """The tally of one event."""
    match aggregation:
        case "sum":
            return SumTally(total=event.quantity)
        case "count":
            return CountTally(events=1)
        case "max":
            return MaxTally(highest=event.quantity)
        case "last":
            return LastTally(
                occurred_at=event.occurred_at,
                source=event.source,
                id=event.id,
                reading=event.quantity,
            )
        case "unique":
            return UniqueTally(keys=frozenset({event.key}))


def merge(left: Tally, right: Tally) -> Tally:
    """Both together: associative and commutative, for tallies of disjoint sets of events.

    BadInput for two aggregations.
    """
    match left, right:
        case SumTally(), SumTally():
            return SumTally(total=_EXACT.add(left.total, right.total))
        case CountTally(), CountTally():
            return CountTally(events=left.events + right.events)
        case MaxTally(), MaxTally():
            return MaxTally(highest=max(left.highest, right.highest))
        case LastTally(), LastTally():
            return left if left.comes_after(right) else right
        case UniqueTally(), UniqueTally():
            return UniqueTally(keys=left.keys | right.keys)
        case _:
            raise BadInput("aggregation", "must be the same of both tallies")


def usage(tally: Tally) -> Decimal:
    """The one number that the tally comes to: what is priced, and held against a limit."""
    match tally:
        case SumTally():
            return tally.total
        case CountTally():
            return Decimal(tally.events)
        case MaxTally():
            return tally.highest
        case LastTally():
            return tally.reading
        case UniqueTally():
            return Decimal(len(tally.keys))


class Window(_Strict):
    """Where tallies are kept apart: tenant, meter, and the UTC instant at which the period begins."""

    tenant: TenantId
    meter: MeterName
    start: Instant


def tallies(
    events: Sequence[UsageEvent], verdicts: Sequence[Verdict], meters: Mapping[str, Meter]
) -> dict[Window, Tally]:
    """What the accepted events of one judged batch add to each window."""
    found = dict[tuple[str, str, datetime], Tally]()
    for event, verdict in zip(events, verdicts, strict=True):
        if verdict.period is None:
            continue
        key = event.tenant, event.meter, verdict.period.start
        one = tally_of(meters[event.meter].aggregation, event)
        found[key] = merge(found[key], one) if key in found else one
    return {
        Window(tenant=tenant, meter=meter, start=start): tally
        for (tenant, meter, start), tally in found.items()
    }


def merge_windows(parts: Iterable[Mapping[Window, Tally]]) -> dict[Window, Tally]:
    """The tallies of several batches together; BadInput as `merge`."""
    found = dict[Window, Tally]()
    for part in parts:
        for window, tally in part.items():
            found[window] = merge(found[window], tally) if window in found else tally
    return found
