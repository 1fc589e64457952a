"""What every lifecycle's object knows of the run that is about it: stage, step, requester, plan, approval. Not the object's own facts."""

from __future__ import annotations

from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.handlers.freezes import is_frozen
from control_plane.handlers.handler import View
from control_plane.handlers.settings import approval_rule


def run_facts(
    view: View,
    run: Run | None,
    approval: Approval | None,
    step: str,
    tenant: str,
    cloud: str = "",
) -> dict[str, object]:
    """Values under the names of Approvable: stage ``propose``, or ``apply`` with a run in hand.

    ``tenant`` is whom it is about, or empty; ``cloud`` where that is to stand, if it stands nowhere.
    """
    facts: dict[str, object] = {
        "stage": "propose" if run is None else "apply",
        "step": step,
        "approval_rule": approval_rule(view.connection),
        "frozen": is_frozen(view.connection, tenant, cloud),
        "requester": view.caller.principal if run is None else run.principal,
    }
    if run is None:
        return facts
    return facts | _settled(run, approval, instant(view.ports.clock.now()))


def _settled(run: Run, approval: Approval | None, now: str) -> dict[str, object]:
    facts: dict[str, object] = {**(run.plan_facts or {}), "plan_digest": run.plan_digest}
    if approval is None:
        return facts
    in_force = approval.state in ("approved", "consumed") and approval.run_id == run.id
    return facts | {
        "approval_present": in_force,
        "approval_by": approval.decided_by or "",
        "approval_digest": approval.plan_digest,
        # Once consumed it holds for the rest of this run: its age was decided on when it was used.
        "approval_expired": approval.state == "approved" and approval.expires_at <= now,
    }
