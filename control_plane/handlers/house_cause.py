"""Why the house asked for a run, as its plan and its guards know it. Not what makes the house ask."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.domain.canonical import Json
from control_plane.domain.gate import GateLevel
from control_plane.domain.house import is_house
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.load import subscription_row
from control_plane.handlers.handler import Work


def cause_parts(run: Run) -> dict[str, Json]:
    """What the approver is told of why it was asked for; nothing of a run that a person asked for."""
    if not is_house(run.principal):
        return {}
    return {"cause": {"reason": run.reason, "told": run.detail}}


def require_last_rung(asker: str, level: GateLevel) -> None:
    """Refused (`debt_settled`) where the house asked, and the last rung is not reached any more."""
    if is_house(asker) and level != "deprovision":
        raise Refused(
            "What was overdue has been settled: nothing is taken away.",
            code="debt_settled",
            rule="dunning",
            fact="billing_level",
        )


def still_unsettled(work: Work, connection: Connection) -> None:
    """The same in the transaction in which the first step begins that nobody can undo.

    A payment is written under the same lock: it comes before this, and stops the run, or after.
    """
    if not is_house(work.run.principal):
        return
    held = subscription_row(connection, work.run.tenant)
    level: GateLevel = "clear" if held is None else held.gate_level(work.ports.clock.now())
    require_last_rung(work.run.principal, level)
