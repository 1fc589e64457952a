"""What a run was asked with, and whether that still holds: its requester, its approval, its age. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.caller import Caller, Grant
from control_plane.domain.canonical import instant
from control_plane.domain.house import BILLING_HOUSE
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.load import approval_row
from control_plane.handlers.handler import Lifecycle, Ports
from control_plane.store import rows, tables
from graphs.approvals import Approvals

AS_OF_AGE_MAX = timedelta(hours=24)


class Requests:
    """Reads a run's request anew each time: nothing of it is remembered as a right."""

    def __init__(
        self, ports: Ports, lifecycles: Mapping[str, Lifecycle], approvals: Approvals
    ) -> None:
        self._ports = ports
        self._lifecycles = {one.kind: one for one in lifecycles.values()}
        self._approvals = approvals

    def of(self, connection: Connection, run: Run) -> tuple[Caller, Lifecycle, Command]:
        """Who asked for what. Refused (`grant_ended`) when the grant no longer holds."""
        handler = self._lifecycles[run.kind]
        return self._asker(connection, run), handler, handler.command_type.restored(run.command)

    def _asker(self, connection: Connection, run: Run) -> Caller:
        if run.grant_id == BILLING_HOUSE.grant_id and BILLING_HOUSE.same_as(
            run.principal, run.actor
        ):
            return BILLING_HOUSE
        grant = rows.first(connection, tables.grant, Grant, tables.grant.c.id == run.grant_id)
        known = grant is not None and (grant.principal, grant.actor) == (run.principal, run.actor)
        if grant is None or not known or not grant.live(instant(self._ports.clock.now())):
            raise Refused(
                "The grant of the requester no longer holds.", code="grant_ended", fact="grant"
            )
        return Caller.of(grant)

    def approval(self, connection: Connection, run: Run) -> Approval | None:
        """The answer that counts: only as long as its signature, its signer and their right hold."""
        if run.approval_id is None:
            return None
        approval = approval_row(connection, run.approval_id)
        if approval is None or approval.state not in ("approved", "consumed"):
            return None
        return approval if self._approvals.holds(connection, approval) else None

    def young_enough(self, run: Run) -> None:
        """Refused (`call_too_old`) when the call is older than 24 h."""
        age = self._ports.clock.now() - datetime.fromisoformat(run.as_of)
        if age > AS_OF_AGE_MAX:
            raise Refused("The call is too old to act on.", code="call_too_old", fact="as_of")
