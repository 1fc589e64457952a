"""An instant as a record holds it: aware, and in UTC. Not a clock, and not a period."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies beyond the years that can be told") from None


# Two instants of one zone are subtracted by their wall clocks: across a change of the clocks, a day
# would have 23 or 25 hours, and a result would hang on the zone in which it was written down.
Instant: TypeAlias = Annotated[AwareDatetime, AfterValidator(_in_utc)]
