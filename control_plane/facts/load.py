"""Loads fact sets from the store, relative to a caller. Decides nothing."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from control_plane.domain.approval_record import Approval
from control_plane.domain.caller import Caller
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

_CANCELABLE = frozenset(state for state in RUN.states if "cancel" in RUN.legal(state))


def tenant_row(connection: Connection, tenant: str) -> Tenant | None:
    """The tenant, or None."""
    return rows.by(connection, tables.tenant.c.id, Tenant, tenant)


def subscription_row(connection: Connection, tenant: str) -> Subscription | None:
    """The tenant's subscription, or None."""
    return rows.by(connection, tables.subscription.c.tenant, Subscription, tenant)


def tenant_facts(connection: Connection, caller: Caller, tenant: str, now: str) -> TenantFacts:
    """The facts of a tenant at an instant; for an absent one, neutral values. Two statements."""
    return tenant_at_hand(connection, caller, tenant, now)[0]


def tenant_at_hand(
    connection: Connection, caller: Caller, tenant: str, now: str
) -> tuple[TenantFacts, Tenant | None, str]:
    """The same, with the tenant itself and the state of its subscription."""
    found = tenant_row(connection, tenant)
    subscription = subscription_row(connection, tenant)
    member = caller.member_of(tenant)
    if found is None:
        return TenantFacts(exists=False, member=member), None, ""
    state = "" if subscription is None else subscription.state
    return facts_of_tenant(found, state, member, now), found, state


def facts_of_tenant(found: Tenant, subscription_state: str, member: bool, now: str) -> TenantFacts:
    """The facts of a tenant in hand; an empty ``subscription_state`` says that it has none."""
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
            "subscription_state": subscription_state,
            "subscription_ended": subscription_state in ("", *SUBSCRIPTION.terminal),
        }
    )


def subscription_facts(
    connection: Connection, caller: Caller, tenant: str
) -> tuple[SubscriptionFacts, Subscription | None]:
    """The facts of a tenant's subscription and the subscription itself."""
    found = subscription_row(connection, tenant)
    member = caller.member_of(tenant)
    if found is None:
        return SubscriptionFacts(exists=False, member=member), None
    facts = SubscriptionFacts(exists=True, member=member, state=found.state, plan=found.plan)
    return facts, found


def record_facts(
    connection: Connection, caller: Caller, tenant: str, collection: str
) -> tuple[RecordFacts, Tenant | None]:
    """The facts of one collection of a tenant, and the tenant itself."""
    found = tenant_row(connection, tenant)
    member = caller.member_of(tenant)
    if found is None:
        return RecordFacts(exists=False, member=member, collection=collection), None
    facts = RecordFacts(
        exists=True,
        member=member,
        collection=collection,
        access_mode=found.access_mode,
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
