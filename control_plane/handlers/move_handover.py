"""What a tenant's own services are told while it moves: that they may only read, and where it stands then. Not the rows.

The database itself holds them to it. That they say they follow makes the change a quiet one, and the
move waits for it no longer than its freeze may last.
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Connection

from control_plane.domain.canonical import Json
from control_plane.domain.handover import half_of
from control_plane.domain.home import Home
from control_plane.errors import Failed
from control_plane.handlers import handovers
from control_plane.handlers.handler import Probe, Work
from control_plane.handlers.handovers import Credential, handed
from control_plane.handlers.tenant_moves import inside_of, noted, noted_now

_PAUSE_S: Final = 0.05


def credentials(work: Work, connection: Connection, source: Home, target: Home) -> dict[str, Json]:
    """The credential that is in use, if any, and the one that takes its place: for the first step's note."""
    known = handed(connection, work.run.tenant)
    former: Json = None
    if known is not None and known.half:
        former = Credential(source, half_of(known.half), known.secret).json()
    coming = handovers.next_credential(connection, work.run.tenant, target)
    return {"former": former, "coming": coming.json()}


def make(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Let the tenant's services into the target by a credential that nobody is told yet."""
    credential = _coming(work)
    handovers.make(work, credential)
    return {"half": credential.half}


def unmake(work: Work, connection: Connection | None) -> None:
    """Let them in no more."""
    handovers.unmake(work, _coming(work))


def probe_made(work: Work) -> Probe:
    """Whether it lets in."""
    return handovers.probe(work, _coming(work))


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
    ends_s = time.monotonic() + within_s
    while True:
        with work.ports.store.read() as reading:
            known = handed(reading, work.run.tenant)
        if known is None or known.acked_at is None:
            return False
        if known.acked_version >= known.version:
            return True
        if time.monotonic() >= ends_s:
            return False
        if work.should_stop() and may_stop:
            raise Failed("The run was asked to stop.", code="canceled")
        time.sleep(_PAUSE_S)


def retire(work: Work) -> None:
    """Let nobody into the source any more, and take the secret of that credential away."""
    former = noted_now(work, "begin")["former"]
    if former is not None:
        handovers.unmake(work, Credential.noted(former))


def _coming(work: Work) -> Credential:
    return Credential.noted(noted_now(work, "begin")["coming"])
