"""The privileged backend's one door: verifies the permit, then lets a handler act. Decides nothing."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, instant
from control_plane.domain.permit import Permit
from control_plane.errors import Refused
from control_plane.handlers.handler import Change, Ports, Subject
from control_plane.store import rows, tables


class Plane:
    """Nothing is changed but through here, and only with a permit that fits and is unused."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def issue(
        self,
        connection: Connection,
        *,
        permit_id: str,
        command: Command,
        tenant: str,
        run_id: str,
        step: str,
        decision_id: str,
        facts_digest: str,
    ) -> Permit:
        """Write the evidence of a decision. Only the enforcement point calls this."""
        permit = Permit(
            id=permit_id,
            command_digest=command.digest(),
            tenant=tenant,
            run_id=run_id,
            step=step,
            decision_id=decision_id,
            facts_digest=facts_digest,
            issued_at=instant(self._ports.clock.now()),
        )
        rows.put(connection, tables.permit, permit)
        return permit

    def consume(self, connection: Connection, permit: Permit, command: Command) -> None:
        """Use a permit up, in the transaction of the change or of the intent.

        Refused with code ``permit_invalid`` when it is not the store's, fits another command, or is
        used already.
        """
        table = tables.permit
        kept = rows.first(connection, table, Permit, table.c.id == permit.id)
        if kept is None or kept != permit or kept.command_digest != command.digest():
            raise Refused("The permit does not fit.", code="permit_invalid", rule="plane.permit")
        unused = (table.c.id == permit.id) & table.c.consumed_at.is_(None)
        now = instant(self._ports.clock.now())
        if rows.change(connection, table, unused, consumed_at=now) != 1:
            raise Refused("The permit is used up.", code="permit_invalid", rule="plane.permit")

    def execute(
        self,
        connection: Connection,
        permit: Permit,
        command: Command,
        call: Call,
        subject: Subject,
        handler: Change,
    ) -> Json:
        """Consume the permit and make the change, both in this transaction."""
        self.consume(connection, permit, command)
        return handler.affect(command, call, subject, self._ports, connection)
