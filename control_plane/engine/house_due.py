"""For whom the house has something to ask by now, and what. Asks nothing, and decides nothing: policy does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection, String, bindparam, cast, func, select

from control_plane.commands import Command, FollowPlan, OffboardTenant, ResumeTenant
from control_plane.domain.canonical import Json, instant
from control_plane.domain.gate import GATES, GateStep, level_at
from control_plane.domain.house import Cause
from control_plane.domain.subscription import SUBSCRIPTION
from control_plane.facts.load import gates_of
from control_plane.infrastructure_commands import CheckDrift, RepairDrift
from control_plane.move_commands import FinaliseMove
from control_plane.store.billing_tables import billing_account
from control_plane.store.database_left import LEFT_ELSEWHERE
from control_plane.store.database_tables import database
from control_plane.store.infrastructure_tables import stack
from control_plane.store.tables import subscription, tenant

HouseKind: TypeAlias = Literal[
    "offboard",
    "follow_plan",
    "resume",
    "drift_check",
    "drift_repair",
    "finalise_move",
    "database_clone_drop",
    "database_backup",
]

# How long after one that came to nothing it is asked for again. A human's no holds for a day; what
# did not fit, or failed, may fit sooner.
AGAIN: Final[dict[HouseKind, timedelta]] = {
    "offboard": timedelta(days=1),
    "follow_plan": timedelta(hours=1),
    "resume": timedelta(hours=1),
    "drift_check": timedelta(hours=6),
    "drift_repair": timedelta(days=1),
    "finalise_move": timedelta(hours=6),
    "database_clone_drop": timedelta(hours=6),
    "database_backup": timedelta(hours=6),
}
LOOK_EVERY: Final = timedelta(days=1)
"""How long after a look at a stack in a cloud, or its apply, the house has it looked at again."""
_TOOLS: Final[dict[HouseKind, str]] = {
    "offboard": "tenant_offboard",
    "follow_plan": "tenant_follow_plan",
    "resume": "tenant_resume",
    "drift_check": "drift_check",
    "drift_repair": "drift_repair",
    "finalise_move": "tenant_move_finalise",
    "database_clone_drop": "database_clone",
    "database_backup": "database_backup",
}
_REMOVABLE: Final = ("active", "suspended", "provision_failed", "deprovision_failed")
_FOLLOWING: Final = ("active", "trialing", "past_due")

# Made once. Few tenants owe anything, and only their ladders name the last rung at all.
_JOINED: Final = tenant.join(subscription, subscription.c.tenant == tenant.c.id)
_STANDING: Final = (
    tenant.c.id,
    tenant.c.state,
    tenant.c.suspend_reasons,
    subscription.c.plan,
    subscription.c.state.label("subscription_state"),
)
_WAY_BACK: Final = (
    select(database.c.id)
    .where(database.c.tenant == tenant.c.id)
    .where(LEFT_ELSEWHERE)
    .where(tenant.c.state.in_(("active", "suspended")))
    .exists()
)
_DEBTORS: Final = (
    select(*_STANDING, billing_account.c.gates, billing_account.c.next_due_at)
    .select_from(_JOINED.join(billing_account, billing_account.c.tenant == tenant.c.id))
    .where(tenant.c.state.in_(_REMOVABLE))
    .where(cast(billing_account.c.gates, String).contains('"deprovision"'))
    # First what a move has left is finalised, once its time is over.
    .where(~_WAY_BACK)
    .order_by(tenant.c.id)
)
_BEHIND: Final = (
    select(*_STANDING)
    .select_from(_JOINED)
    .where(tenant.c.state == "active")
    .where(tenant.c.plan != subscription.c.plan)
    .where(subscription.c.state.in_(_FOLLOWING))
    .order_by(tenant.c.id)
)
_SHUT: Final = (
    select(*_STANDING, billing_account.c.gates)
    .select_from(_JOINED.outerjoin(billing_account, billing_account.c.tenant == tenant.c.id))
    .where(tenant.c.state == "suspended")
    .where(cast(tenant.c.suspend_reasons, String).contains('"billing"'))
    .order_by(tenant.c.id)
)
# What stands on this machine nobody changes behind our back.
_SEEN_AT: Final = func.coalesce(stack.c.checked_at, stack.c.applied_at)
_LOOKED: Final = (
    select(stack.c.tenant, func.min(_SEEN_AT).label("looked_at"))
    .select_from(stack.join(tenant, tenant.c.id == stack.c.tenant))
    .where(tenant.c.state == "active")
    .where(stack.c.state != "gone")
    .where(stack.c.cloud != "local")
    .where(bindparam("before") >= _SEEN_AT)
    .group_by(stack.c.tenant)
    .order_by(stack.c.tenant)
)
_DRIFTED: Final = (
    select(stack.c.tenant, stack.c.checked_at, stack.c.drift)
    .select_from(stack.join(tenant, tenant.c.id == stack.c.tenant))
    .where(tenant.c.state == "active")
    .where(stack.c.state == "drifted")
    .order_by(stack.c.tenant)
)
# Under a legal hold everything stays.
_LEFT: Final = (
    select(database.c.tenant, database.c.id, database.c.kept_until)
    .select_from(database.join(tenant, tenant.c.id == database.c.tenant))
    .where(tenant.c.state.in_(("active", "suspended")))
    .where(tenant.c.legal_hold.is_(False))
    .where(database.c.purpose == "former")
    .where(database.c.state.in_(("available", "stopped", "failed")))
    .where(database.c.kept_until <= bindparam("now"))
    .order_by(database.c.tenant, database.c.kept_until)
)


@dataclass(frozen=True)
class Wish:
    """What the house would ask for about one tenant. ``since`` names the debt, or the plan.

    ``early`` says that the billing clock has yet to do what is due: until then nothing is asked.
    """

    kind: HouseKind
    tenant: str
    command: Command
    since: str
    cause: Cause
    early: bool = False

    @property
    def tool(self) -> str:
        """The tool by which it is asked for."""
        return _TOOLS[self.kind]


def wishes(connection: Connection, now: datetime) -> list[Wish]:
    """Everything that stands to be asked for at `now` (aware), of a tenant the most urgent first."""
    due = (*_debtors(connection, now), *_behind(connection), *_shut(connection, now))
    # What was found a day ago is looked at again before anything is repaired by it.
    return [*due, *_unseen(connection, now), *_drifted(connection), *_left(connection, now)]


def _debtors(connection: Connection, now: datetime) -> Iterator[Wish]:
    for row in connection.execute(_DEBTORS):
        steps = gates_of(row.gates)
        if level_at(steps, now) != "deprovision":
            continue
        since = instant(min(one.at for one in steps))
        last = instant(_last_rung(steps))
        ended = row.subscription_state in SUBSCRIPTION.terminal
        yield Wish(
            "offboard",
            row.id,
            OffboardTenant(tenant=row.id, proposed_cancel=not ended),
            since,
            Cause(
                reason="debt_unpaid",
                told=f"Overdue since {since}; the last rung of the ladder came at {last}.",
            ),
            early=row.next_due_at is not None and row.next_due_at <= instant(now),
        )


def _last_rung(steps: tuple[GateStep, ...]) -> datetime:
    return min(one.at for one in steps if one.level == "deprovision")


def _behind(connection: Connection) -> Iterator[Wish]:
    for row in connection.execute(_BEHIND):
        yield Wish(
            "follow_plan",
            row.id,
            FollowPlan(tenant=row.id, proposed_plan=row.plan),
            row.plan,
            Cause(
                reason="plan_moved",
                told=f"The subscription had come to the plan {row.plan}, and the stack had not.",
            ),
        )


def _shut(connection: Connection, now: datetime) -> Iterator[Wish]:
    for row in connection.execute(_SHUT):
        if GATES[level_at(gates_of(row.gates), now)].access_mode == "full":
            yield _opening(row.id)


def _unseen(connection: Connection, now: datetime) -> Iterator[Wish]:
    for row in connection.execute(_LOOKED, {"before": instant(now - LOOK_EVERY)}):
        yield Wish(
            "drift_check",
            row.tenant,
            CheckDrift(tenant=row.tenant),
            row.looked_at,
            Cause(
                reason="stack_unseen",
                told=f"Nobody has looked at the stack since {row.looked_at}.",
            ),
        )


def _drifted(connection: Connection) -> Iterator[Wish]:
    for row in connection.execute(_DRIFTED):
        found: Mapping[str, list[Json]] = row.drift or {}
        count = len(found.get("resources", ()))
        yield Wish(
            "drift_repair",
            row.tenant,
            RepairDrift(tenant=row.tenant),
            row.checked_at,
            Cause(
                reason="stack_drifted",
                told=f"The look of {row.checked_at} found {count} resources otherwise than applied.",
            ),
        )


def _left(connection: Connection, now: datetime) -> Iterator[Wish]:
    for row in connection.execute(_LEFT, {"now": instant(now)}):
        yield Wish(
            "finalise_move",
            row.tenant,
            FinaliseMove(tenant=row.tenant, database=row.id),
            row.id,
            Cause(
                reason="way_back_over",
                told=f"It was kept as the way back until {row.kept_until}.",
            ),
        )


def _opening(name: str) -> Wish:
    return Wish(
        "resume",
        name,
        ResumeTenant(tenant=name, proposed_reason="billing"),
        "paid",
        Cause(
            reason="debt_settled",
            told="What was overdue was settled while the tenant was being taken away.",
        ),
    )
