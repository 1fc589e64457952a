"""What a debt closes: the levels of the gate, and from when on each holds. Not how a debt comes about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict

from control_plane.domain.instant import Instant
from control_plane.domain.tenant import AccessMode

GateLevel: TypeAlias = Literal[
    "clear", "no_upgrades", "no_new_resources", "read_only", "no_access", "deprovision"
]
Blocked: TypeAlias = Literal["upgrade", "new_silo", "new_resource", "raise_quota"]

LEVELS: Final[tuple[GateLevel, ...]] = get_args(GateLevel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Gate(_Strict):
    """What one level closes. `subscription` is the state that goes with it, None for no debt."""

    subscription: Literal["past_due", "unpaid", "canceled"] | None = None
    access_mode: AccessMode = "full"
    suspended: bool = False
    blocks: frozenset[Blocked] = frozenset()
    compute_stopped: bool = False
    deprovision_planned: bool = False


_GROWTH: frozenset[Blocked] = frozenset({"upgrade", "new_silo", "new_resource", "raise_quota"})
GATES: Mapping[GateLevel, Gate] = MappingProxyType(
    {
        "clear": Gate(),
        "no_upgrades": Gate(subscription="past_due", blocks=frozenset({"upgrade", "new_silo"})),
        "no_new_resources": Gate(subscription="past_due", blocks=_GROWTH),
        "read_only": Gate(
            subscription="unpaid", access_mode="read_only", suspended=True, blocks=_GROWTH
        ),
        "no_access": Gate(
            subscription="unpaid",
            access_mode="none",
            suspended=True,
            blocks=_GROWTH,
            compute_stopped=True,
        ),
        # Planned only: a human approves it, and the data is retained.
        "deprovision": Gate(
            subscription="canceled",
            access_mode="none",
            suspended=True,
            blocks=_GROWTH,
            compute_stopped=True,
            deprovision_planned=True,
        ),
    }
)


class GateStep(_Strict):
    """From this instant on the gate stands at `level`."""

    at: Instant
    level: GateLevel


def level_at(steps: Iterable[GateStep], now: datetime) -> GateLevel:
    """The level that holds at `now` (aware): of all steps that have come, the last; else `clear`.

    The steps are written down when a debt arises, and time alone does the rest: no sweep can be
    late, and a payment, which takes them away, lifts everything at once.
    """
    reached = [one for one in steps if one.at <= now]
    return max(reached, key=lambda one: one.at).level if reached else "clear"
