"""The handlers that read approvals. Deciding one is not a tool: it is done on another channel."""

from __future__ import annotations

from sqlalchemy import and_

from control_plane.commands import Command, GetApproval, ListApprovals
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.facts.load import approval_facts, facts_of_approval
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.newest import Newest, within_grant
from control_plane.store import tables


def describe(approval: Approval) -> dict[str, Json]:
    """An approval as a reader may see it."""
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
        assert isinstance(subject.loaded, Approval)
        return describe(subject.loaded)


class ListApprovalsHandler:
    """Lists the approvals that the caller may read, the newest first."""

    _NEWEST = Newest(Approval, tables.approval.c.created_at, tables.approval.c.id)

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace; each approval is decided on its own."""
        return Subject(id="workspace", facts=WorkspaceFacts(), tenant=command.target())

    def page(self, command: Command, view: View) -> list[Subject]:
        """The approvals of one scan."""
        assert isinstance(command, ListApprovals)
        table = tables.approval
        where = [within_grant(view.caller, table.c.tenant)]
        if command.tenant:
            where.append(table.c.tenant == command.tenant)
        if command.states:
            where.append(table.c.state.in_(command.states))

        def member(approval: Approval) -> Subject:
            facts = facts_of_approval(view.caller, approval)
            return Subject(id=approval.id, facts=facts, tenant=approval.tenant, loaded=approval)

        return self._NEWEST.page(command, view, and_(*where), member)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The approvals, and where the next page begins."""
        assert isinstance(command, ListApprovals)
        approvals, following = self._NEWEST.listed(command, view, page)
        return {"approvals": [describe(one) for one in approvals], "next_after": following}
