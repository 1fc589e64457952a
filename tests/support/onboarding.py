"""Calls through a face in this process: short words, and a tenant brought into being. Not a test."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from server.wiring import Face
from tests.support.house import fresh_key
from tests.support.waiting import until

RUN_DEADLINE_S = 60.0
RESTING = frozenset(
    {
        "applied",
        "discarded",
        "canceled",
        "failed",
        "compensated",
        "compensation_failed",
        "awaiting_approval",
    }
)


def ask(face: Face, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool, and take its structured answer."""
    answered = face.front.call(tool, arguments)
    assert answered.outcome is not None, answered.bad_input
    return answered.outcome.answer()


def follow(
    face: Face, run_id: str, states: Collection[str], deadline_s: float = RUN_DEADLINE_S
) -> dict[str, Any]:
    """Follow a run until it is in one of the states."""

    def arrived() -> dict[str, Any] | None:
        run: dict[str, Any] = ask(face, "run_get", run_id=run_id)["result"]
        if run["state"] in states:
            return run
        if run["state"] in RESTING:
            pytest.fail(f"the run came to {run['state']}: {run['detail']}")
        return None

    return until(arrived, f"the run is in {sorted(states)}", deadline_s)


def onboarding(tenant: str, **changed: Any) -> dict[str, Any]:
    """The arguments of an onboarding, with a key of its own."""
    return {
        "tenant": tenant,
        "display_name": "A tenant",
        "plan": "free",
        "isolation": "pooled",
        "idempotency_key": fresh_key(),
        **changed,
    }


def onboard(face: Face, tenant: str) -> dict[str, Any]:
    """Bring a pooled tenant into being; its run."""
    answered = ask(face, "tenant_onboard", **onboarding(tenant))
    assert answered["outcome"] == "running", answered
    return follow(face, answered["run_id"], {"applied"})


def park(face: Face, tenant: str) -> dict[str, Any]:
    """Ask for a silo tenant; its run, waiting for an approval."""
    asked = onboarding(tenant, plan="team", isolation="silo")
    answered = ask(face, "tenant_onboard", **asked)
    assert answered["outcome"] == "running", answered
    return follow(face, answered["run_id"], {"awaiting_approval"})


def contact(**changed: Any) -> dict[str, Any]:
    """The values of a record in the sample collection."""
    return {
        "full_name": "Ada",
        "email": "ada@example.com",
        "company": None,
        "status": "lead",
        "balance": 5,
        "notes": None,
        **changed,
    }
