"""Settles intents whose outcome nobody wrote: looks in the tenant's database, never does anything again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection

from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, instant
from control_plane.errors import PaybillError
from control_plane.handlers.handler import Change, Ports
from control_plane.store import rows, tables

# Longer than any call may take: whoever wrote an older intent is gone.
INTENT_AGE_MIN = timedelta(seconds=60)
_BATCH_MAX = 100


class IntentSweep:
    """The worker's clock calls it; each intent is settled once, with its outcome leaf."""

    def __init__(self, ports: Ports, changes: Mapping[str, Change]) -> None:
        self._ports = ports
        self._changes = changes

    def step(self) -> int:
        """Settle what is old enough; how many it was. One that cannot be seen now waits."""
        before = instant(self._ports.clock.now() - INTENT_AGE_MIN)
        table = tables.call
        alone = table.c.run_id.is_(None) & (table.c.as_of < before) & (table.c.settled.is_(False))
        with self._ports.store.read() as connection:
            waiting = rows.every(connection, table, Call, alone, limit=_BATCH_MAX)
        return sum(self._settle(call) for call in waiting)

    def _settle(self, call: Call) -> bool:
        try:
            effect = self._changes[call.command].recover(call, self._ports)
        except PaybillError:
            return False
        with self._ports.store.write(call.tenant or None) as connection:
            self._close(connection, call, effect)
        return True

    def _close(self, connection: Connection, call: Call, effect: Json) -> None:
        made = effect is not None
        table, key = tables.call, tables.idempotency
        rows.change(connection, table, table.c.id == call.id, effect=effect, settled=True)
        if not made:
            connection.execute(key.delete().where(key.c.call_id == call.id))
        payload: dict[str, Json] = {
            "call_id": call.id,
            "principal": call.principal,
            "actor": call.actor,
            "tool": call.tool,
            "outcome": "done" if made else "failed",
            "code": "reconciled",
        }
        self._ports.recorder.record(connection, "outcome", call.tenant, payload)
