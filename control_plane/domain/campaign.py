"""A change of all tenants' databases by a team's migrations: its machine, its order, its rows. Not the changing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeAlias, get_args

from annotated_types import Ge

from control_plane.domain.home import Home
from control_plane.domain.machine import Machine, Transient, Transition
from control_plane.domain.record import Record

CampaignState: TypeAlias = Literal[
    "pending", "canary", "wave", "rest", "done", "paused", "halted", "aborted"
]
Asked: TypeAlias = Literal["", "pause", "abort"]
ReceiptState: TypeAlias = Literal["pending", "done", "failed"]

_DAY_S: Final = 86_400
_AT_WORK: Final = frozenset({"canary", "wave", "rest"})
_RESTING: Final = frozenset({"paused", "halted"})
WAVE_PERCENT: Final = 5

CAMPAIGN = Machine(
    name="fleet_migration",
    initial="pending",
    states=get_args(CampaignState),
    stable=frozenset({"pending"}) | _RESTING,
    transient={
        "canary": Transient(_DAY_S, ("proceed",), failure="halt", lapse="pause"),
        "wave": Transient(_DAY_S, ("proceed",), failure="halt", lapse="pause"),
        "rest": Transient(_DAY_S, ("finish",), failure="halt", lapse="pause"),
    },
    terminal=frozenset({"done", "aborted"}),
    transitions=(
        Transition("pending", "begin", "canary", guard="plan_approved"),
        Transition("canary", "proceed", "wave", guard="canary_stands"),
        Transition("wave", "proceed", "rest", guard="wave_stands"),
        Transition("rest", "finish", "done", guard="every_tenant_has_its_receipts"),
        Transition(_AT_WORK, "pause", "paused", guard="asked_or_worker_left"),
        Transition(_AT_WORK, "halt", "halted", guard="failure_budget_spent"),
        # Who stands already is found so: from the canary on, nothing is done twice.
        Transition(_RESTING, "resume", "canary", guard="plan_approved"),
        Transition(frozenset({"pending"}) | _AT_WORK | _RESTING, "cancel", "aborted"),
    ),
)
OPEN: Final = frozenset(CAMPAIGN.states) - CAMPAIGN.terminal
BEGUN: Final = frozenset(CAMPAIGN.states) - {"pending", "aborted"}
"""In one of these, who comes meanwhile gets its migrations from the beginning."""


class Campaign(Record):
    """One change of all tenants, from migration `first` to `last`.

    It halts once more than `failures_max` tenants have failed. `asked` is what somebody has asked
    for and no worker has carried out yet.
    """

    id: str
    first: Annotated[int, Ge(1)]
    last: Annotated[int, Ge(1)]
    state: CampaignState
    asked: Asked = ""
    asked_by: str = ""
    digest: str
    catalog: str
    run_id: str
    failures_max: Annotated[int, Ge(0)]
    reason: str = ""
    created_at: str
    changed_at: str
    version: int = 0

    @property
    def standing(self) -> CampaignState:
        """The state, with what was asked for where no worker will carry it out: it rests."""
        if self.asked == "abort" and self.state in _RESTING:
            return "aborted"
        return self.state


class FleetReceipt(Record):
    """What one migration has come to in one tenant's database; `place` tells which of its databases."""

    tenant: str
    place: str
    number: Annotated[int, Ge(1)]
    migration: str
    digest: str
    campaign: str
    state: ReceiptState
    before: str = ""
    after: str = ""
    attempts: int = 0
    code: str
    detail: str = ""
    changed_at: str


def place_of(home: Home) -> str:
    """A home as a word."""
    return f"{home.server}.{home.isolation}.{home.slot}"


def in_order(digest: str, members: Iterable[tuple[str, Home]]) -> list[tuple[str, Home]]:
    """Tenants in the order of a campaign: the same for the same plan, and not the alphabet's.

    Who shares tables comes last: there one tenant's turn is everybody's.
    """

    def place(member: tuple[str, Home]) -> tuple[bool, str, str]:
        tenant, home = member
        drawn = hashlib.sha256(f"{digest}\0{tenant}\0{place_of(home)}".encode()).hexdigest()
        return home.isolation == "pooled", drawn, tenant

    return sorted(members, key=place)


def stage_sizes(count: int) -> tuple[int, int, int]:
    """How many of `count` are the canary, the wave behind it, and the rest."""
    canary = min(1, count)
    wave = min(count - canary, -(-count * WAVE_PERCENT // 100))
    return canary, wave, count - canary - wave
