"""A run as it is kept: command, plan, state, exits. Not the machine that says which moves are legal (run.py)."""

from __future__ import annotations

from control_plane.domain.canonical import Json
from control_plane.domain.record import Record


class RunSummary(Record):
    """What a listing tells of a run: neither its plan nor its result."""

    id: str
    principal: str
    actor: str
    tenant: str
    kind: str
    state: str
    dry_run: bool
    created_at: str
    updated_at: str
    cancel_requested: bool = False
    plan_digest: str = ""
    approval_id: str | None = None
    reason: str = ""


class Run(RunSummary):
    """A piece of work that the worker executes for one call.

    ``tool`` is the name under which it was asked for, and is decided on. ``holds`` says that no
    other such run may be about the same tenant.
    """

    tool: str
    holds: bool = True
    call_id: str
    grant_id: str
    command: dict[str, Json]
    as_of: str
    seed: str
    deadline_at: str | None = None
    heartbeat_at: str | None = None
    attempts: int = 0
    plan: dict[str, Json] | None = None
    plan_facts: dict[str, Json] | None = None
    artifact: str | None = None
    detail: str = ""
    retryable: bool = False


class RunStep(Record):
    """One step of a run: an effect of its own (effect.py has its machine)."""

    run_id: str
    name: str
    position: int
    state: str
    permit_id: str | None = None
    dispatched_at: str | None = None
    ended_at: str | None = None
    observed: dict[str, Json] | None = None
