"""A campaign as it goes on: how many databases of how many, how fast, for how long still. It steers nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from control_plane.domain.campaign import CAMPAIGN, Campaign
from control_plane.errors import NotFound
from control_plane.fleet import campaigns
from control_plane.handlers.fleet_views import described_campaign
from control_plane.ports import Store

RESTING: Final = CAMPAIGN.terminal | {"paused", "halted"}
_LOOKS_MAX: Final = 400_000
_SEEN_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class FleetLook:
    """A campaign at one moment. `rate` is databases a second over the last looks, 0 while unknown."""

    state: str
    done: int
    failed: int
    databases: int
    rate: float

    @property
    def eta_s(self) -> float | None:
        """For how long still, in seconds; None while nothing is known."""
        left = self.databases - self.done - self.failed
        return left / self.rate if self.rate > 0 else None

    @property
    def rests(self) -> bool:
        """Whether nothing more comes by itself."""
        return self.state in RESTING


def watch(
    store: Store, clock_s: Callable[[], float], pause: Callable[[], object]
) -> Iterator[FleetLook]:
    """Look until the newest campaign rests; the last look is of that. Raises NotFound without one."""
    seen: list[tuple[float, int]] = []
    for _ in range(_LOOKS_MAX):
        with store.read() as connection:
            found = campaigns.newest(connection)
            if found is None:
                raise NotFound("there is no campaign", code="fleet_migration_not_found")
            told = described_campaign(connection, found)
        done, failed, all_of = (int(str(told[one])) for one in ("done", "failed", "databases"))
        seen = [*seen, (clock_s(), done)][-_SEEN_MAX:]
        look = FleetLook(_state(found), done, failed, all_of, _rate(seen))
        yield look
        if look.rests:
            return
        pause()


def _state(found: Campaign) -> str:
    return found.standing


def _rate(seen: list[tuple[float, int]]) -> float:
    (start_s, first), (end_s, last) = seen[0], seen[-1]
    return (last - first) / (end_s - start_s) if end_s > start_s and last > first else 0.0
