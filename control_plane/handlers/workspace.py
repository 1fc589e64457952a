"""Handlers of the two commands about the workspace: who am I, and which plans are there. No tenant's data."""

from __future__ import annotations

from control_plane.commands import Command
from control_plane.domain.canonical import Json
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import SingleAnswer, Subject, View


class DescribeCallerHandler(SingleAnswer):
    """Tells the caller who they are here."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace."""
        return Subject(id="workspace", facts=WorkspaceFacts())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """Principal, actor, roles and tenants of the grant."""
        caller = view.caller
        return {
            "principal": caller.principal,
            "actor": caller.actor,
            "actor_kind": caller.actor_kind,
            "roles": list(caller.roles),
            "tenants": list(caller.tenants),
        }


class ListPlansHandler(SingleAnswer):
    """Lists the plans on offer."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace."""
        return Subject(id="workspace", facts=WorkspaceFacts())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The plans in the order of their rank."""
        offers = sorted(view.ports.catalog.plans.plans, key=lambda offer: offer.rank)
        return {"plans": [offer.declared() for offer in offers]}
