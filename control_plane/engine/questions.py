"""The approval rows of runs: asked, used up, voided. Who may answer one is decided elsewhere."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import digest, instant
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.load import approval_row, approvals_waiting, run_row
from control_plane.handlers.handler import Ports
from control_plane.ports import Settled
from control_plane.store import rows, tables

APPROVAL_TTL = timedelta(hours=24)


class Questions:
    """Each write comes before the run's own move, whose leaf vouches for the approval as it then stands."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def of(self, run: Run) -> Approval | None:
        """The run's approval, where it has one."""
        if run.approval_id is None:
            return None
        with self._ports.store.read() as connection:
            return approval_row(connection, run.approval_id)

    def ask(self, connection: Connection, run: Run, settled: Settled) -> Approval:
        """Write the question of a run; Refused when too many of its requester's are waiting."""
        # Counted here too: runs that were proposed at once had no approval yet.
        waiting = approvals_waiting(connection, run.principal, run.actor)
        if waiting >= self._ports.limits.pending_approvals_max:
            raise Refused("Too many approvals are waiting.", code="too_many_approvals")
        now = self._ports.clock.now()
        approval = Approval(
            id=digest({"approval": run.id, "plan": settled.plan.digest})[:32],
            run_id=run.id,
            tenant=run.tenant,
            requester=run.principal,
            requester_actor=run.actor,
            rule=settled.rule,
            plan_digest=settled.plan.digest,
            state="pending",
            created_at=instant(now),
            expires_at=instant(now + APPROVAL_TTL),
        )
        rows.put(connection, tables.approval, approval)
        return approval

    def consume(self, connection: Connection, run: Run) -> None:
        """Use the answer up, in the transaction that starts the run; Refused when it is no yes."""
        if run.approval_id is None:
            return
        table = tables.approval
        unused = (table.c.id == run.approval_id) & (table.c.state == "approved")
        if rows.change(connection, table, unused, state="consumed") != 1:
            raise Refused("The approval is used up.", code="approval_void")

    def void(self, connection: Connection, run_id: str, reason: str) -> None:
        """Close what is still open; nothing happens where there is nothing."""
        run = run_row(connection, run_id)
        if run is None or run.approval_id is None:
            return
        table = tables.approval
        open_still = (table.c.id == run.approval_id) & table.c.state.in_(("pending", "approved"))
        rows.change(connection, table, open_still, state="void", reason=reason)
