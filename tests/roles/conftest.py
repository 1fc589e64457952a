"""The scene of the role tests: tenants, runs and approvals on both sides of a grant, and a face a role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from control_plane.domain.caller import ROLES
from server.wiring import Face
from tests.support.house import House, fresh_key, fresh_name
from tests.support.onboarding import ask, contact, follow, onboarding

MAKER = ("maker", "maker-bot")


@dataclass
class Cast:
    """Faces by role and column, and the objects that they ask about."""

    house: House
    own: str
    foreign: str
    runs: dict[str, dict[str, Any]]
    names: dict[str, str]
    faces: dict[tuple[str, str], Face] = field(default_factory=dict[tuple[str, str], Face])

    def face(self, role: str, column: str) -> Face:
        """The face of a role; in the column ``made``, of the maker with that role."""
        return self.faces[role, "made" if column == "made" else "own"]

    def arguments(self, role: str, tool: str, column: str) -> dict[str, Any]:
        """The arguments of one cell."""
        if column == "wrong":
            return {"surplus": 1, "tenant": 7, "limit": "many"}
        inside = column != "foreign"
        tenant = self.own if inside else self.foreign
        run = self.runs["foreign" if not inside else "read"]
        # Only the first cancellation of a run is done: whoever may cancel has one of their own.
        canceled = self.runs.get(role if column == "own" else "", run)
        return {
            "tenant_get": {"tenant": tenant},
            "tenant_onboard": onboarding(self.names[role] if inside else "outside", dry_run=True),
            "run_get": {"run_id": run["run_id"]},
            "run_cancel": {
                "run_id": self._cancelable(canceled, column),
                "idempotency_key": fresh_key(),
            },
            "approval_get": {"approval_id": run["approval_id"]},
            "record_query": {"tenant": tenant, "collection": "contacts"},
            "record_create": {
                "tenant": tenant,
                "collection": "contacts",
                "values": contact(),
                "idempotency_key": fresh_key(),
            },
        }.get(tool, {})

    def _cancelable(self, run: dict[str, Any], column: str) -> str:
        return str(self.runs["over"]["run_id"] if column == "made" else run["run_id"])


def _propose(face: Face, tenant: str, **changed: Any) -> str:
    answered = ask(face, "tenant_onboard", **onboarding(tenant, **changed))
    assert answered["outcome"] == "running", answered
    return str(answered["run_id"])


@pytest.fixture(scope="session")
def cast(shared: House) -> Iterator[Cast]:
    """Everything stands; the runs were asked for by one maker, and by another one outside."""
    mine = {name: fresh_name(name) for name in ("read", "operator", "admin")}
    theirs = fresh_name("theirs")
    names: dict[str, str] = {role: fresh_name("new") for role in ROLES}
    inside = ",".join(["acme", *mine.values(), *names.values()])
    silo = {"plan": "team", "isolation": "silo"}
    with ExitStack() as stack:

        def face(roles: str, principal: str, actor: str | None, tenants: str = inside) -> Face:
            token = shared.issue(roles, tenants, principal=principal, actor=actor)
            return stack.enter_context(shared.face(token))

        maker = face("operator", *MAKER)
        outside = face("operator", "stranger", "stranger-bot", f"globex,{theirs}")
        asked = {name: (maker, _propose(maker, tenant, **silo)) for name, tenant in mine.items()}
        asked["foreign"] = (outside, _propose(outside, theirs, **silo))
        runs = {
            name: follow(by, run_id, {"awaiting_approval"}) for name, (by, run_id) in asked.items()
        }
        over = _propose(maker, names["viewer"], dry_run=True)
        runs["over"] = follow(maker, over, {"discarded"})
        runs["platform_admin"] = runs.pop("admin")
        made = Cast(shared, "acme", "globex", runs, names)
        for role in ROLES:
            # An agent is never an approver: that one is the human alone.
            actor = None if role == "approver" else f"{role}-bot"
            made.faces[role, "own"] = face(role, role, actor)
            made.faces[role, "made"] = face(role, *MAKER)
        made.faces["operator", "own"] = maker
        yield made
