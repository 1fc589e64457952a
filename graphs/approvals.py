"""Decides on approvals: who may answer one, at signing and again at consumption. Signs and consumes none."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection

from control_plane.domain.approval import may_decide
from control_plane.domain.approval_record import Approval, Approver
from control_plane.domain.caller import Caller, Grant
from control_plane.domain.canonical import instant
from control_plane.domain.signing import signed
from control_plane.errors import NotFound, PaybillError, Refused
from control_plane.facts.load import approval_facts
from control_plane.handlers.handler import Ports, Subject
from control_plane.secrets.signer import verify
from control_plane.store import rows, tables
from graphs.gatekeeper import Gatekeeper, require

Answer = Literal["approve", "deny"]
_GRANTS_MAX = 100


class Approvals:
    """The enforcement point's words on approvals; policy and the domain's rule must both agree."""

    def __init__(self, ports: Ports, keeper: Gatekeeper) -> None:
        self._ports = ports
        self._keeper = keeper

    def decide(
        self, connection: Connection, caller: Caller, approval_id: str, answer: Answer
    ) -> Approval:
        """The approval, if this caller may give that answer now; else NotFound or Refused."""
        facts, approval = approval_facts(connection, caller, approval_id)
        # The requester reads it by another actor than the one who asked: the human is the same.
        own = approval is not None and approval.requester == caller.principal
        facts = facts.model_copy(update={"own": own})
        subject = Subject(id=approval_id, facts=facts, acts=(answer,), tenant="")
        verdict, actions = self._keeper.decide_object(caller, subject)
        if "read" not in verdict.may or approval is None:
            raise NotFound
        require((answer,), actions)
        refused = may_decide(facts.rule, approval.requester, caller.principal, caller.actor_kind)
        if refused is not None:
            raise refused
        if approval.expires_at <= instant(self._ports.clock.now()):
            raise Refused("The approval has expired.", code="approval_expired", fact="expires_at")
        return approval

    def holds(self, connection: Connection, approval: Approval) -> bool:
        """Whether a given approval may be consumed: signature, enrolment, and the right, all now."""
        known = {
            one.key_id: one
            for one in rows.every(
                connection, tables.approver, Approver, tables.approver.c.key_id != ""
            )
        }
        if not signed(approval, known, self._ports.root, verify):
            return False
        return any(
            self._may_still(connection, grant, approval)
            for grant in self._grants(connection, approval.decided_by or "")
        )

    def _grants(self, connection: Connection, principal: str) -> list[Grant]:
        table = tables.grant
        now = instant(self._ports.clock.now())
        # Only grants that hold count against the bound: those that are over grow without end.
        where = (
            (table.c.principal == principal)
            & (table.c.actor_kind == "human")
            & table.c.revoked_at.is_(None)
            & (table.c.expires_at > now)
        )
        found = rows.every(connection, table, Grant, where, limit=_GRANTS_MAX)
        return [grant for grant in found if grant.live(now)]

    def _may_still(self, connection: Connection, grant: Grant, approval: Approval) -> bool:
        caller = Caller.of(grant)
        facts, _ = approval_facts(connection, caller, approval.id)
        # As if it were asked now: an answered approval is not pending, and its right is the question.
        facts = facts.model_copy(update={"state": "pending"})
        subject = Subject(id=approval.id, facts=facts, reads=(), acts=("approve",))
        try:
            _, actions = self._keeper.decide_object(caller, subject)
            require(("approve",), actions)
        except Refused as error:
            if error.code in ("policy_engine_unavailable", "bad_facts"):
                raise
            return False
        except PaybillError:
            return False
        return (
            may_decide(facts.rule, approval.requester, caller.principal, caller.actor_kind) is None
        )
