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
from functools import reduce
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from control_plane.billing.calendar import Cycle, Period, ZoneName, boundary, period_at, utc
from control_plane.billing.usage_events import Event, Identity, MeterName, digest_of
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

Aggregation: TypeAlias = Literal["sum", "count", "max", "last", "unique"]
Status: TypeAlias = Literal["accepted", "duplicate", "conflict", "late", "unknown_meter", "invalid"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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
    code: str = ""
    period: Period | None = None
    moved: bool = False


# One for all events to which it happens: of a batch it happens to a thousand at once.
_DUPLICATE: Final = Verdict(status="duplicate")
_CONFLICT: Final = Verdict(status="conflict", code="usage_conflict")
_UNKNOWN: Final = Verdict(status="unknown_meter", code="meter_unknown")
_WITHOUT_PERIOD: Final = Verdict(status="invalid", code="usage_without_period")
_WITHOUT_KEY: Final = Verdict(status="invalid", code="usage_without_key")
_AHEAD: Final = Verdict(status="invalid", code="usage_ahead")
_LATE: Final = Verdict(status="late", code="usage_late")


def judge(
    events: Sequence[Event],
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
    known, verdicts = dict[Identity, Event](), list[Verdict]()
    bench = _Bench(meters, _Periods(schedules))
    for event in events:
        identity = event.source, event.id
        # A digest is taken only of what was there before, which of most batches nothing was.
        earlier = known.get(identity)
        before = recorded.get(identity) if earlier is None else digest_of(earlier)
        if before is not None:
            verdicts.append(_DUPLICATE if before == digest_of(event) else _CONFLICT)
            continue
        verdict = bench.judged(event)
        if verdict.period is not None:
            known[identity] = event
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


class _Bench:
    def __init__(self, meters: Mapping[str, Meter], periods: _Periods) -> None:
        self._meters = meters
        self._periods = periods
        self._last = _UNKNOWN

    def judged(self, event: Event) -> Verdict:
        """What becomes of an event whose identity is new."""
        meter = self._meters.get(event.meter)
        if meter is None:
            return _UNKNOWN
        own, received = self._periods.at(event.tenant, event.occurred_at), event.received_at
        if own is None:
            return _WITHOUT_PERIOD
        if meter.aggregation == "unique" and not event.key:
            return _WITHOUT_KEY
        # A reading from the future would stay the last one, and would keep a period open.
        if event.occurred_at > received and event.occurred_at > received + AHEAD_MAX:
            return _AHEAD
        # No deadline lies before its period's end.
        if received < own.end or received < meter.deadline(own):
            return self._accepted(own, moved=False)
        if meter.late == "refuse":
            return _LATE
        # The first open period is the one that was running so many hours ago.
        open_one = self._periods.at(event.tenant, received - meter.open_for)
        assert open_one is not None, "after a period that has begun, one is always open"
        return self._accepted(open_one, moved=True)

    def _accepted(self, period: Period, *, moved: bool) -> Verdict:
        last = self._last
        if last.period is not period or last.moved != moved:
            self._last = last = Verdict(status="accepted", period=period, moved=moved)
        return last


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
    return tally_of(aggregation)


def tally_of(aggregation: Aggregation, *events: Event) -> Tally:
    """The tally of events, each of which counts."""
    match aggregation:
        case "sum":
            return SumTally(total=reduce(_EXACT.add, (one.quantity for one in events), Decimal(0)))
        case "count":
            return CountTally(events=len(events))
        case "max":
            return MaxTally(highest=max((one.quantity for one in events), default=Decimal(0)))
        case "last":
            if not events:
                return LastTally()
            last = max(events, key=lambda one: (one.occurred_at, one.source, one.id))
            return LastTally(
                occurred_at=last.occurred_at,
                source=last.source,
                id=last.id,
                reading=last.quantity,
            )
        case "unique":
            return UniqueTally(keys=frozenset(one.key for one in events))


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
    events: Sequence[Event], verdicts: Sequence[Verdict], meters: Mapping[str, Meter]
) -> dict[Window, Tally]:
    """What the accepted events of one judged batch add to each window."""
    found = dict[tuple[str, str, datetime], list[Event]]()
    for event, verdict in zip(events, verdicts, strict=True):
        if verdict.period is not None:
            key = event.tenant, event.meter, verdict.period.start
            found.setdefault(key, []).append(event)
    return {
        Window(tenant=tenant, meter=meter, start=start): tally_of(
            meters[meter].aggregation, *members
        )
        for (tenant, meter, start), members in found.items()
    }


def merge_windows(parts: Iterable[Mapping[Window, Tally]]) -> dict[Window, Tally]:
    """The tallies of several batches together; BadInput as `merge`."""
    found = dict[Window, Tally]()
    for part in parts:
        for window, tally in part.items():
            found[window] = merge(found[window], tally) if window in found else tally
    return found
