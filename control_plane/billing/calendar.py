"""Billing periods: where one ends and the next begins, in the customer's time zone. Not what they cost.

A boundary is found from the anchor alone, never from the boundary before it, so that a day 31 that
was shortened in February is 31 again in March. Only the customer's zone counts, by its IANA name:
the zone of the process and of the instants given makes no difference. Periods are half open, and
come out in UTC.

Zone rules change by law. What was invoiced keeps the instants that were written down then.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Annotated, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.charge import Interval
from control_plane.errors import BadInput

PERIODS_MAX = 1_200  # a century of months
INTERVALS_MAX = 36  # of one period
YEAR_MIN, YEAR_MAX = 1970, 2999

_MONTHS = {"month": 1, "year": 12}
# A name that stands for whatever zone the machine is in.
_MACHINE_ZONES = frozenset({"localtime"})


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones()) - _MACHINE_ZONES


def zone_info(name: str) -> ZoneInfo:
    """The zone of an IANA name, as `Europe/Berlin`. BadInput for any other name.

    The name must be one of the database's own: a path, a zone with leap seconds, or the machine's
    zone under a name would give different results on different machines.
    """
    if name not in _zone_names():
        raise BadInput("zone", "must be the IANA name of a time zone")
    return ZoneInfo(name)


def _zone_name(name: str) -> str:
    try:
        zone_info(name)
    except BadInput as error:
        raise ValueError(error.rule) from None
    return name


ZoneName: TypeAlias = Annotated[str, AfterValidator(_zone_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Cycle(_Strict):
    """How long a period is, and at which time of the day it begins.

    `at_anchor` keeps the anchor's local time of day. `at_midnight` begins every period with its
    local day, the first one too, whatever the anchor's time of day.
    """

    interval: Interval
    count: int = Field(default=1, ge=1, le=INTERVALS_MAX)
    starts: Literal["at_anchor", "at_midnight"] = "at_anchor"

    @property
    def months(self) -> int:
        """How many months one period has."""
        return _MONTHS[self.interval] * self.count


MONTHLY = Cycle(interval="month")
YEARLY = Cycle(interval="year")


class Period(_Strict):
    """From `start` up to but without `end`, both in UTC.

    `index` counts periods from the one that begins at the anchor, which is 0; earlier ones are
    negative.
    """

    index: int
    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not utc(self.start) < utc(self.end):
            raise ValueError("a period ends after it starts")
        return self

    def holds(self, instant: datetime) -> bool:
        """Whether the aware `instant` lies in the period."""
        return utc(self.start) <= utc(instant) < utc(self.end)


def utc(instant: datetime) -> datetime:
    """The instant in UTC. TypeError for a naive one, BadInput outside of the years 1970 to 2999.

    Every instant comes through here before it is compared or subtracted: within one zone, Python
    does both by the clock on the wall, and is an hour off across a change of clocks.
    """
    if instant.tzinfo is None:
        raise TypeError("a naive datetime is no instant")
    _check_year(instant.year)
    return instant.astimezone(UTC)


def _check_year(year: int) -> None:
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise BadInput("instant", f"must lie in the years {YEAR_MIN} to {YEAR_MAX}")


def _at_local(day: date, at: time, place: ZoneInfo) -> datetime:
    # With `fold=0`, of a time that comes twice the first counts, and one that clocks skip moves on
    # by as much as they do: RFC 5545, section 3.3.5.
    return datetime.combine(day, at, place).astimezone(UTC)


def local_day(instant: datetime, zone: str) -> date:
    """The day that the aware `instant` belongs to in the zone: the last one that had begun.

    It never goes back. Where clocks are put back across midnight, the wall shows the evening before
    once more; that hour belongs to the day that had begun.
    """
    place, moment = zone_info(zone), utc(instant)
    shown = moment.astimezone(place).date()
    begun = (
        day for day in (shown + timedelta(days=1), shown) if _at_local(day, time(), place) <= moment
    )
    return next(begun, shown - timedelta(days=1))


def boundary(anchor: datetime, cycle: Cycle, zone: str, index: int) -> datetime:
    """The UTC instant at which period `index` begins.

    The anchor's day of the month, or the month's last day if it has fewer. A local time that clocks
    skip moves on by as much as they do, and of one that comes twice the first counts; the anchor
    itself is kept as it is. BadInput outside of the years 1970 to 2999.
    """
    if index == 0 and cycle.starts == "at_anchor":
        return utc(anchor)
    place = zone_info(zone)
    local = utc(anchor).astimezone(place)
    first = local_day(anchor, zone) if cycle.starts == "at_midnight" else local.date()
    year, month = divmod(first.year * 12 + first.month - 1 + index * cycle.months, 12)
    _check_year(year)
    day = min(first.day, monthrange(year, month + 1)[1])
    at = time() if cycle.starts == "at_midnight" else local.time().replace(fold=0)
    return _at_local(date(year, month + 1, day), at, place)


def period(anchor: datetime, cycle: Cycle, zone: str, index: int) -> Period:
    """Period `index`; BadInput as `boundary`."""
    return Period(
        index=index,
        start=boundary(anchor, cycle, zone, index),
        end=boundary(anchor, cycle, zone, index + 1),
    )


def period_at(anchor: datetime, cycle: Cycle, zone: str, instant: datetime) -> Period:
    """The one period that holds `instant`, which may lie before the anchor; BadInput as `boundary`."""
    place, moment = zone_info(zone), utc(instant)
    first, local = utc(anchor).astimezone(place), moment.astimezone(place)
    guess = ((local.year - first.year) * 12 + local.month - first.month) // cycle.months
    # One too late by the month alone if its day has not come yet; one too early where clocks that
    # are put back across midnight show the month before once more.
    for index in (guess + 1, guess):
        if boundary(anchor, cycle, zone, index) <= moment:
            return period(anchor, cycle, zone, index)
    return period(anchor, cycle, zone, guess - 1)


def next_period(anchor: datetime, cycle: Cycle, zone: str, current: Period) -> Period:
    """The period after `current`; it begins where that ends."""
    return period(anchor, cycle, zone, current.index + 1)


def previous_period(anchor: datetime, cycle: Cycle, zone: str, current: Period) -> Period:
    """The period before `current`; it ends where that begins."""
    return period(anchor, cycle, zone, current.index - 1)


def periods_between(
    anchor: datetime, cycle: Cycle, zone: str, start: datetime, end: datetime
) -> tuple[Period, ...]:
    """Every period that shares time with `start` up to but without `end`, whole and in order.

    None if `end` is not after `start`. BadInput for more than 1,200, or as `boundary`.
    """
    if utc(end) <= utc(start):
        return ()
    first = period_at(anchor, cycle, zone, start).index
    # The last that shares time begins before `end`, which itself may be a boundary.
    last = period_at(anchor, cycle, zone, end)
    count = last.index - first + (last.start < utc(end))
    if count > PERIODS_MAX:
        raise BadInput("end", f"must be at most {PERIODS_MAX} periods after the start")
    return tuple(period(anchor, cycle, zone, first + step) for step in range(count))
