"""Errors and rows turned into outcomes. Decides nothing."""

from __future__ import annotations

from control_plane.domain.canonical import Json
from control_plane.domain.outcome import NOT_FOUND, Outcome
from control_plane.domain.run_record import Run
from control_plane.errors import (
    Conflict,
    Failed,
    NotFound,
    PaybillError,
    Refused,
    Unavailable,
    Unknown,
)

_WAITING = frozenset(
    {
        "pending",
        "planning",
        "planned",
        "policy_checking",
        "approved",
        "applying",
        "verifying",
        "errored",
        "compensating",
    }
)


def of_error(error: PaybillError) -> Outcome:
    """What the caller learns of an error. BadInput is no outcome: the server answers it as such."""
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, Refused):
        return Outcome(
            outcome="refused",
            message=str(error),
            code=error.code,
            rule=error.rule or None,
            fact=error.fact or None,
        )
    if isinstance(error, Conflict):
        return Outcome(outcome="conflict", message=str(error), code=error.code, run_id=error.run_id)
    if isinstance(error, Unknown):
        return Outcome(outcome="unknown", message=str(error), code=error.code)
    retryable = isinstance(error, Unavailable) or (isinstance(error, Failed) and error.retryable)
    return Outcome(
        outcome="failed",
        message=str(error),
        code=error.code,
        retryable=retryable,
        retry_after_s=error.retry_after_s if isinstance(error, Failed) else None,
    )


def of_run(run: Run, done: dict[str, Json] | None) -> Outcome:
    """What a run amounts to now; ``done`` is the result of an applied one."""
    if run.state in _WAITING:
        return Outcome(outcome="running", run_id=run.id, plan_digest=run.plan_digest or None)
    if run.state == "awaiting_approval":
        return Outcome(
            outcome="awaiting_approval",
            message="A human must approve the plan at a terminal: paybill approvals list.",
            run_id=run.id,
            approval_id=run.approval_id,
            plan_digest=run.plan_digest,
        )
    if run.state == "applied":
        return Outcome(outcome="done", result=done or {}, run_id=run.id)
    if run.state in ("unknown", "reconciling"):
        return Outcome(
            outcome="unknown",
            message="It is not known whether an effect stands; the worker reconciles it first.",
            run_id=run.id,
        )
    return _of_ended(run)


def _of_ended(run: Run) -> Outcome:
    if run.state == "discarded" and run.reason == "dry_run":
        return Outcome(
            outcome="planned", result=run.plan or {}, run_id=run.id, plan_digest=run.plan_digest
        )
    if run.state == "discarded":
        return Outcome(
            outcome="refused",
            message=run.detail or "The plan was discarded.",
            code=run.reason or "discarded",
            run_id=run.id,
        )
    if run.state == "canceled" or run.reason == "canceled":
        return Outcome(
            outcome="failed",
            message="The run was canceled, and what it had done is undone.",
            code="canceled",
            run_id=run.id,
            retryable=True,
        )
    remains = run.state == "compensation_failed"
    return Outcome(
        outcome="failed",
        message=run.detail or ("Something remains of it." if remains else "Nothing remains of it."),
        code="residue" if remains else (run.reason or "failed"),
        run_id=run.id,
        retryable=run.retryable,
    )
