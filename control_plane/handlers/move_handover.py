"""What a tenant's own services are told while it moves: that they may only read, and where it stands then. Not the rows.

The database itself holds them to it. That they say they follow makes the change a quiet one, and the
move waits for it no longer than its freeze may last.
"""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.domain.canonical import Json
from control_plane.handlers import handovers
from control_plane.handlers.handler import Work
from control_plane.handlers.handovers import Credential, handed
from control_plane.handlers.tenant_moves import inside_of, noted


def announce(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Tell the services that for a moment they may only read."""
    inside = inside_of(connection)
    known = handed(inside, work.run.tenant)
    handovers.tell_access(work, inside, "read_only")
    return {"access": "full" if known is None else known.access}


def withdraw(work: Work, connection: Connection | None) -> None:
    """Tell them that they may do again what they did."""
    inside = inside_of(connection)
    was = noted(work, inside, "announce")["access"]
    if was in ("full", "read_only"):
        handovers.tell_access(work, inside, "full" if was == "full" else "read_only")


def hand_over(work: Work, connection: Connection) -> None:
    """Tell them the target, in the transaction that cuts over."""
    coming = Credential.noted(noted(work, connection, "begin")["coming"])
    handovers.hand_over(work, connection, coming)


def await_followers(work: Work, within_s: float, *, may_stop: bool = True) -> bool:
    """Wait until the services have said that they follow, and no longer; whether they have.

    Who has never said so of any version is not waited for.
    """
    with work.ports.store.read() as reading:
        known = handed(reading, work.run.tenant)
    if known is None or known.acked_at is None:
        return False
    return handovers.followed(work, within_s, may_stop=may_stop)
