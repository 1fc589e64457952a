"""The tools over a tenant's seats, with their inputs and outputs. Not what they do."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from control_plane import commands
from tools.schemas import After, DryRun, Key, TenantArguments, TenantName
from tools.spec import Arguments, Result, ToolSpec


def _composed(text: str) -> str:
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("must be in Unicode's normal form C")
    return text


Holder = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\s\x00-\x1f\x7f]+$",
        description="A user of the tenant's by one name that stays, as an e-mail address or an "
        "id. Compared as it is written: another case is another holder.",
    ),
    AfterValidator(_composed),
]


class ListSeatsArguments(TenantArguments):
    """Whose seats, and which page of them."""

    limit: int = Field(default=50, ge=1, le=100)
    after: After = None


class SeatArguments(Arguments):
    """The tenant, and the user whose seat it is about."""

    tenant: TenantName
    holder: Holder
    idempotency_key: Key
    dry_run: DryRun = False


class SeatLine(Result):
    """A seat that is held. Its holder is null for whom it is masked."""

    holder: str | None
    state: Literal["assigned", "reserved"]
    assigned_at: str
    reserved_until: str | None


class SeatsResult(Result):
    """A page of seats, by holder, and how many there are."""

    tenant: str
    size: int
    assigned: int
    reserved: int
    free: int
    seats: list[SeatLine]
    next_after: str | None


class _CountedResult(Result):
    tenant: str
    holder: str | None
    size: int
    assigned: int
    reserved: int
    free: int


class SeatAssignedResult(_CountedResult):
    """The holder has a seat; whether this call took it."""

    new: bool


class SeatReleasedResult(_CountedResult):
    """The holder has no seat; whether this call released one."""

    released: bool


SEAT_TOOLS = (
    ToolSpec(
        name="seat_list",
        title="List seats",
        description="List who holds a seat of a tenant's, by holder; how many seats there are, "
        "and how many are free. A holder that you may not read is null.",
        arguments=ListSeatsArguments,
        result=SeatsResult,
        risk="read",
        domain="seat",
        machine="query",
        to_command=lambda a: commands.ListSeats(tenant=a.tenant, limit=a.limit, after=a.after),
    ),
    ToolSpec(
        name="seat_assign",
        title="Assign a seat",
        description="Give a user of a tenant's a seat. Who has one keeps it and takes no second. "
        "Refused when every seat is taken, or the tenant is closed to changes.",
        arguments=SeatArguments,
        result=SeatAssignedResult,
        risk="write",
        domain="seat",
        machine="change",
        to_command=lambda a: commands.AssignSeat(tenant=a.tenant, holder=a.holder),
        next_tools=("seat_list", "seat_release", "subscription_get", "tenant_get"),
    ),
    ToolSpec(
        name="seat_release",
        title="Release a seat",
        description="Take a user's seat back, also while the tenant is closed to changes. "
        "Releasing what nobody holds changes nothing.",
        arguments=SeatArguments,
        result=SeatReleasedResult,
        risk="write",
        domain="seat",
        machine="change",
        to_command=lambda a: commands.ReleaseSeat(tenant=a.tenant, holder=a.holder),
        next_tools=("seat_list", "tenant_get"),
    ),
)
