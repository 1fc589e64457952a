"""Loads fact sets from the store, relative to a caller. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import Connection, bindparam, func, select

from control_plane.domain.approval_record import Approval
from control_plane.domain.caller import Caller
from control_plane.domain.gate import GATES, GateLevel, GateStep, level_at
from control_plane.domain.run import RUN
from control_plane.domain.run_record import Run, RunSummary
from control_plane.domain.subscription import SUBSCRIPTION, Subscription
from control_plane.domain.tenant import Tenant
from control_plane.facts.approval import ApprovalFacts
from control_plane.facts.record import RecordFacts
from control_plane.facts.run import RunFacts
from control_plane.facts.subscription import SubscriptionFacts
from control_plane.facts.tenant import TenantFacts
from control_plane.store import rows, tables
from control_plane.store.billing_tables import billing_account

# Made once: to build a statement costs more than to run it.
_SUBSCRIPTION: Final = (
    select(tables.subscription, *(one for one in billing_account.columns if one.name != "tenant"))
    .outerjoin(billing_account, billing_account.c.tenant == tables.subscription.c.tenant)
    .where(tables.subscription.c.tenant == bindparam("tenant"))
)
_TENANT_GATES: Final = (
    select(tables.tenant, billing_account.c.gates)
    .outerjoin(billing_account, billing_account.c.tenant == tables.tenant.c.id)
    .where(tables.tenant.c.id == bindparam("tenant"))
)
_STANDINGS: Final = (
    select(tables.subscription.c.tenant, tables.subscription.c.state, billing_account.c.gates)
    .outerjoin(billing_account, billing_account.c.tenant == tables.subscription.c.tenant)
    .where(tables.subscription.c.tenant.in_(bindparam("tenants", expanding=True)))
)
_GATES: Final = TypeAdapter(tuple[GateStep, ...])


class Standing(NamedTuple):
    """How a tenant's subscription stands: its state, empty without one, and what its debts close."""

    state: str = ""
    level: GateLevel = "clear"


_CANCELABLE = frozenset(state for state in RUN.states if "cancel" in RUN.legal(state))


def tenant_row(connection: Connection, tenant: str) -> Tenant | None:
    """The tenant, or None."""
    return rows.by(connection, tables.tenant.c.id, Tenant, tenant)


def subscription_row(connection: Connection, tenant: str) -> Subscription | None:
    """The tenant's subscription with how it stands with money, or None. One statement."""
    row = connection.execute(_SUBSCRIPTION, {"tenant": tenant}).mappings().first()
    if row is None:
        return None
    # A free one has no account: what is null stands as by default.
    known = {name: value for name, value in row.items() if value is not None}
    return rows.parse(Subscription, known)


def tenant_with_gates(
    connection: Connection, tenant: str
) -> tuple[Tenant | None, tuple[GateStep, ...]]:
    """The tenant, or None, and what its debts close and when. One statement."""
    row = connection.execute(_TENANT_GATES, {"tenant": tenant}).mappings().first()
    if row is None:
        return None, ()
    return rows.parse(Tenant, dict(row)), gates_of(row["gates"])


def gates_of(stored: object) -> tuple[GateStep, ...]:
    """What debts close and when, as an account keeps it."""
    # Most tenants owe nothing: then there is nothing to read.
    return _GATES.validate_json(json.dumps(stored)) if stored else ()


def tenant_facts(connection: Connection, caller: Caller, tenant: str, now: str) -> TenantFacts:
    """The facts of a tenant at an instant; for an absent one, neutral values. Two statements."""
    return tenant_at_hand(connection, caller, tenant, now)[0]


def tenant_at_hand(
    connection: Connection, caller: Caller, tenant: str, now: str
) -> tuple[TenantFacts, Tenant | None, Standing]:
    """The same, with the tenant itself and how its subscription stands."""
    found = tenant_row(connection, tenant)
    subscription = subscription_row(connection, tenant)
    member = caller.member_of(tenant)
    if found is None:
        return TenantFacts(exists=False, member=member), None, Standing()
    standing = standing_of(subscription, now)
    return facts_of_tenant(found, standing, member, now), found, standing


def standing_of(subscription: Subscription | None, now: str) -> Standing:
    """How a subscription stands at an instant; without one there is nothing to stand."""
    if subscription is None:
        return Standing()
    return Standing(subscription.state, subscription.gate_level(datetime.fromisoformat(now)))


def standings(connection: Connection, tenants: Iterable[str], now: str) -> dict[str, Standing]:
    """How the subscriptions of several tenants stand; one statement."""
    moment = datetime.fromisoformat(now)
    found = connection.execute(_STANDINGS, {"tenants": list(tenants)})
    return {row.tenant: Standing(row.state, level_at(gates_of(row.gates), moment)) for row in found}


def facts_of_tenant(found: Tenant, standing: Standing, member: bool, now: str) -> TenantFacts:
    """The facts of a tenant in hand; an empty ``standing.state`` says that it has no subscription."""
    kept = found.restorable_until is not None and now < found.restorable_until
    return TenantFacts.model_validate(
        {
            "exists": True,
            "member": member,
            "state": found.state,
            "access_mode": found.access_mode,
            "isolation": found.isolation,
            "plan": found.plan,
            "cordoned": found.cordoned,
            "suspend_reasons": tuple(sorted(found.suspend_reasons)),
            "deletion_protection": found.deletion_protection,
            "legal_hold": found.legal_hold,
            "restorable": found.state == "deprovisioned" and kept,
            "subscription_state": standing.state,
            "subscription_ended": standing.state in ("", *SUBSCRIPTION.terminal),
            "billing_level": standing.level,
            "billing_access": GATES[standing.level].access_mode,
        }
    )


def subscription_facts(
    connection: Connection, caller: Caller, tenant: str, now: datetime
) -> tuple[SubscriptionFacts, Subscription | None]:
    """The facts of a tenant's subscription at an instant, and the subscription itself."""
    found = subscription_row(connection, tenant)
    member = caller.member_of(tenant)
    if found is None:
        return SubscriptionFacts(exists=False, member=member), None
    facts = SubscriptionFacts(
        exists=True,
        member=member,
        state=found.state,
        plan=found.plan,
        billing_level=found.gate_level(now),
    )
    return facts, found


def record_facts(
    connection: Connection, caller: Caller, tenant: str, collection: str, now: datetime
) -> tuple[RecordFacts, Tenant | None]:
    """The facts of one collection of a tenant at an instant, and the tenant itself."""
    found, gates = tenant_with_gates(connection, tenant)
    member = caller.member_of(tenant)
    if found is None:
        return RecordFacts(exists=False, member=member, collection=collection), None
    facts = RecordFacts(
        exists=True,
        member=member,
        collection=collection,
        access_mode=found.access_mode,
        billing_access=GATES[level_at(gates, now)].access_mode,
        tenant_state=found.state,
        cordoned=found.cordoned,
    )
    return facts, found


def run_row(connection: Connection, run_id: str) -> Run | None:
    """The run, or None."""
    return rows.by(connection, tables.run.c.id, Run, run_id)


def run_facts(connection: Connection, caller: Caller, run_id: str) -> tuple[RunFacts, Run | None]:
    """The facts of a run and the run itself."""
    run = run_row(connection, run_id)
    if run is None:
        return RunFacts(exists=False, member=False, own=False), None
    return facts_of_run(caller, run), run


def facts_of_run(caller: Caller, run: RunSummary) -> RunFacts:
    """The facts of a run that is at hand."""
    return RunFacts(
        exists=True,
        member=caller.member_of(run.tenant),
        own=caller.same_as(run.principal, run.actor),
        state=run.state,
        cancelable=run.state in _CANCELABLE and not run.cancel_requested,
    )


def approval_row(connection: Connection, approval_id: str) -> Approval | None:
    """The approval, or None."""
    return rows.by(connection, tables.approval.c.id, Approval, approval_id)


def approvals_waiting(connection: Connection, principal: str, actor: str) -> int:
    """How many approvals a caller's runs are waiting for."""
    table = tables.approval
    asked = (table.c.requester == principal) & (table.c.requester_actor == actor)
    waiting = asked & (table.c.state == "pending")
    statement = select(func.count()).select_from(table).where(waiting)
    return int(connection.execute(statement).scalar_one())


def approval_facts(
    connection: Connection, caller: Caller, approval_id: str
) -> tuple[ApprovalFacts, Approval | None]:
    """The facts of an approval and the approval itself."""
    approval = approval_row(connection, approval_id)
    if approval is None:
        return ApprovalFacts(exists=False, member=False, own=False), None
    return facts_of_approval(caller, approval), approval


def facts_of_approval(caller: Caller, approval: Approval) -> ApprovalFacts:
    """The facts of an approval that is at hand."""
    return ApprovalFacts.model_validate(
        {
            "exists": True,
            "member": caller.member_of(approval.tenant),
            "own": caller.same_as(approval.requester, approval.requester_actor),
            "state": approval.state,
            "rule": approval.rule,
            "requester": approval.requester,
        }
    )
