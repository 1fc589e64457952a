"""The handler that lists leaves of the audit log. It opens no payload: those are sealed to the worker."""

from __future__ import annotations

from sqlalchemy import and_

from control_plane.commands import Command, SearchAudit
from control_plane.domain.canonical import Json
from control_plane.domain.record import Record
from control_plane.facts.audit_leaf import AuditLeafFacts
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import Subject, View
from control_plane.handlers.newest import Newest, within_grant
from control_plane.store import tables


class _Leaf(Record):
    """What a face may know of a leaf."""

    written: int
    id: str
    kind: str
    tenant: str
    recorded_at: str
    commitment: str
    position: int | None


class SearchAuditHandler:
    """Lists the leaves that the caller may see, the newest first."""

    _NEWEST = Newest(_Leaf, tables.audit_leaf.c.recorded_at, tables.audit_leaf.c.written)

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace; each leaf is decided on its own."""
        return Subject(id="workspace", facts=WorkspaceFacts(), tenant=command.target())

    def page(self, command: Command, view: View) -> list[Subject]:
        """The leaves of one scan."""
        assert isinstance(command, SearchAudit)
        table = tables.audit_leaf
        where = [within_grant(view.caller, table.c.tenant)]
        if command.tenant:
            where.append(table.c.tenant == command.tenant)
        if command.kind:
            where.append(table.c.kind == command.kind)
        if command.since:
            where.append(table.c.recorded_at >= command.since)
        if command.until:
            where.append(table.c.recorded_at < command.until)

        def member(leaf: _Leaf) -> Subject:
            facts = AuditLeafFacts(exists=True, member=view.caller.member_of(leaf.tenant))
            return Subject(id=leaf.id, facts=facts, tenant=leaf.tenant, loaded=leaf)

        return self._NEWEST.page(command, view, and_(*where), member)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The leaves, and where the next page begins."""
        assert isinstance(command, SearchAudit)
        leaves, following = self._NEWEST.listed(command, view, page)
        return {"leaves": [_describe(leaf) for leaf in leaves], "next_after": following}


def _describe(leaf: _Leaf) -> dict[str, Json]:
    return {
        "leaf_id": leaf.id,
        "kind": leaf.kind,
        "tenant": leaf.tenant or None,
        "recorded_at": leaf.recorded_at,
        "position": leaf.position,
        "commitment": leaf.commitment,
    }
