"""What a plan says about debts: when to try again and what is closed when. Not the reckoning."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from control_plane.domain.gate import LEVELS, GateLevel
from control_plane.domain.money import Money
from control_plane.domain.subscription import Exhausted

Wait: TypeAlias = Annotated[int, Field(ge=1, le=30 * 86_400)]
Waits: TypeAlias = Annotated[tuple[Wait, ...], Field(max_length=32)]
Day: TypeAlias = Annotated[int, Field(ge=0, le=365)]

RETRY_DAYS: Final = (0, 1, 3, 5, 7, 9, 11, 14)  # the field's usual eight tries in two weeks
_GATEWAY_START_S = 300
_GATEWAY_TRIES = 8


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Rung(_Strict):
    """From this many whole days overdue on, the gate stands at `level`."""

    day: Day = Field(description="Whole days overdue.")
    level: GateLevel = Field(description="What is closed from then on.")


_RUNGS: Final = (
    Rung(day=0, level="no_upgrades"),
    Rung(day=7, level="no_new_resources"),
    Rung(day=14, level="read_only"),
    Rung(day=21, level="no_access"),
    Rung(day=30, level="deprovision"),
)


class DunningPolicy(_Strict):
    """A plan's dunning policy; what it leaves out is as here.

    `retry_days` count from the due instant and hold after a soft decline. The waits, in seconds,
    hold after a gateway error (then the days again), and between questions to the provider about an
    attempt that is unknown or pending. `thresholds`: in each currency, an overdue total up to its
    threshold is no debt. `retention_days` run from the rung `deprovision`.
    """

    retry_days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=32)] = Field(
        default=RETRY_DAYS,
        description="Days after the due one on which it is tried again after a soft decline.",
    )
    gateway_waits_s: Waits = Field(
        default=tuple(_GATEWAY_START_S << n for n in range(_GATEWAY_TRIES)),
        description="Seconds until the next try after an error of the provider's.",
    )
    unknown_waits_s: Waits = Field(
        default=(300, 3_600, *(86_400,) * 5),
        description="Seconds until it is asked again how an attempt ended.",
    )
    pending_waits_s: Waits = Field(
        default=(3_600, 86_400),
        description="Seconds until it is asked again for an attempt that is pending.",
    )
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1, max_length=len(LEVELS) - 1)] = Field(
        default=_RUNGS, description="What is closed from which day on."
    )
    thresholds: Annotated[tuple[Money, ...], Field(max_length=200)] = Field(
        default=(), description="Up to which overdue total, in each currency, nothing is owed."
    )
    when_exhausted: Exhausted = Field(
        default="unpaid", description="What becomes of the subscription after the last try."
    )
    retention_days: Annotated[int, Field(ge=1, le=3_650)] = Field(
        default=30, description="Days for which data is kept from `deprovision` on."
    )

    @model_validator(mode="after")
    def _climbs(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.retry_days)):
            raise ValueError("the days of retries rise")
        heights = [(rung.day, LEVELS.index(rung.level)) for rung in self.rungs]
        for (day, height), (next_day, next_height) in pairwise(heights):
            if next_day <= day or next_height <= height:
                raise ValueError("the rungs rise in day and in level")
        if heights[0][1] == 0:
            raise ValueError("a rung closes something")
        currencies = [one.currency for one in self.thresholds]
        if len(set(currencies)) != len(currencies):
            raise ValueError("a currency has one threshold")
        if any(one.minor < 0 for one in self.thresholds):
            raise ValueError("a threshold is not below zero")
        return self

    def threshold_minor(self, currency: str) -> int:
        """Up to which overdue total in this currency nothing is owed; zero where none is set."""
        return next((one.minor for one in self.thresholds if one.currency == currency), 0)

    def day_of(self, level: GateLevel) -> int | None:
        """The first day on which the gate stands at `level` or above; None where it never does."""
        least = LEVELS.index(level)
        return next((one.day for one in self.rungs if LEVELS.index(one.level) >= least), None)
