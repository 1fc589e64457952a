"""The handler that reads an approval. Deciding one is not a tool: it is done on another channel."""

from __future__ import annotations

from control_plane.commands import Command, GetApproval
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.facts.load import approval_facts
from control_plane.handlers.handler import SingleAnswer, Subject, View


class GetApprovalHandler(SingleAnswer):
    """Reads one approval."""

    def subject(self, command: Command, view: View) -> Subject:
        """The approval, there or not."""
        assert isinstance(command, GetApproval)
        facts, approval = approval_facts(view.connection, view.caller, command.approval_id)
        tenant = "" if approval is None else approval.tenant
        return Subject(id=command.approval_id, facts=facts, tenant=tenant, loaded=approval)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The approval, without signature and key."""
        approval = subject.loaded
        assert isinstance(approval, Approval)
        return {
            "approval_id": approval.id,
            "run_id": approval.run_id,
            "tenant": approval.tenant,
            "rule": approval.rule,
            "state": approval.state,
            "plan_digest": approval.plan_digest,
            "requested_by": approval.requester,
            "created_at": approval.created_at,
            "expires_at": approval.expires_at,
            "decided_at": approval.decided_at,
            "how": "A human decides it at a terminal: paybill approvers, paybill approvals.",
        }
