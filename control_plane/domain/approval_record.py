"""An approval as it is kept: a row bound to a digest. Not the machine (approval.py), not a message."""

from __future__ import annotations

from control_plane.domain.record import Record


class Approval(Record):
    """One question to a human, its answer, and the one run that may consume it."""

    id: str
    run_id: str
    tenant: str
    requester: str
    requester_actor: str
    rule: str
    plan_digest: str
    state: str
    created_at: str
    expires_at: str
    decided_by: str | None = None
    decided_at: str | None = None
    key_id: str | None = None
    signature: str | None = None
    checkpoint: str | None = None
    reason: str = ""


class Approver(Record):
    """An enrolled approver's public key; the enrolment is signed by the root key or an approver in force."""

    key_id: str
    principal: str
    public_key: str
    enrolled_at: str
    enrolled_by: str
    signature: str
    revoked_at: str | None = None
