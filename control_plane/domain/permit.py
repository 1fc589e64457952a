"""A permit: evidence of a decision for one side effect. Not authority: whoever acts has decided for itself."""

from __future__ import annotations

from control_plane.domain.record import Record


class Permit(Record):
    """Bound to one command, run, step and decision; single use.

    Consumed in the transaction of the change or of the intent leaf. After a kill the same run and
    step may present it again, nobody else may.
    """

    id: str
    command_digest: str
    tenant: str
    run_id: str
    step: str
    decision_id: str
    facts_digest: str
    issued_at: str
    consumed_at: str | None = None
