"""One use of a meter, as its sender tells it: what it says, which one it is, its digest. Not whether it counts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from control_plane.billing.calendar import utc
from control_plane.domain.canonical import instant
from control_plane.domain.prices import Quantity
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput

Name: TypeAlias = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
MeterName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Identity: TypeAlias = tuple[str, str]  # source, id


def _in_years(instant: datetime) -> datetime:
    # Before anything else: at the ends of the calendar, a change of zone overflows.
    try:
        return utc(instant)
    except BadInput as error:
        raise ValueError(error.rule) from None


Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_in_years)]


class UsageEvent(BaseModel):
    """One use of a meter by a tenant; instants are aware, the quantity is a decimal as text.

    `source` and `id` are as in CloudEvents: together they name one event. `key` is what the meter
    `unique` counts once. `received_at` is ours, and no part of the content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: Name
    id: Name
    tenant: TenantId
    meter: MeterName
    occurred_at: Moment
    received_at: Moment
    quantity: Quantity = Decimal(1)
    key: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")

    @property
    def occurred_text(self) -> str:
        """When it was used, as it is kept."""
        return instant(self.occurred_at)

    @property
    def identity(self) -> Identity:
        """Which event it is: source and id."""
        return self.source, self.id

    def digest(self) -> str:
        """SHA-256 of what the sender said; when it came does not count."""
        return digest_of(self)


class ReportedEvent(NamedTuple):
    """One whose parts were parsed already, as those of a call are: it looks at none of them again.

    A thousand of them are made for each batch. To parse each as a `UsageEvent` takes ten times as long.
    """

    source: str
    id: str
    tenant: str
    meter: str
    quantity: Decimal
    occurred_at: datetime
    occurred_text: str
    received_at: datetime
    key: str = ""


Event: TypeAlias = UsageEvent | ReportedEvent


def digest_of(event: Event) -> str:
    """SHA-256 of what the sender said; when it came does not count."""
    # No part can hold a line break. Canonical JSON says the same in five times the time. A decimal's
    # own text may be in powers of ten.
    named = f"{event.source}\n{event.id}\n{event.tenant}\n{event.meter}\n{event.key}"
    told = f"{named}\n{event.occurred_text}\n{event.quantity:f}"
    return sha256(told.encode()).hexdigest()
