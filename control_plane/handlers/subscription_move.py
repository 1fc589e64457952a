"""The lifecycle that every move of a subscription is: its object, its guards, its plan. Not the moves themselves."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.facts.load import subscription_facts
from control_plane.facts.subscription import Operation, SubscriptionFacts
from control_plane.handlers.handler import Observed, Ports, Step, Subject, View, Work
from control_plane.handlers.run_facts import run_facts
from control_plane.handlers.subscription_plan import Move, Planned, planned
from control_plane.handlers.subscription_steps import instant_of
from control_plane.handlers.subscriptions import described_subscription


class SubscriptionMove:
    """A run whose plan is worked out on a copy of the tenant's book, and made in the books as planned."""

    holds = False
    operation: ClassVar[Operation]
    kind: str
    command_type: type[Command]
    steps: tuple[Step, ...]
    move: Move

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The subscription, there or not."""
        tenant = command.target()
        known, found = subscription_facts(
            view.connection, view.caller, tenant, view.ports.clock.now()
        )
        asked = {
            "operation": self.operation,
            "ends_now": self.ends_now(command),
            **run_facts(view, run, approval, step, tenant),
        }
        facts = SubscriptionFacts.model_validate(known.model_dump() | asked)
        return Subject(id=tenant, facts=facts, acts=(facts.stage,), tenant=tenant, loaded=found)

    def ends_now(self, command: Command) -> bool:
        """Whether rights end at once."""
        return False

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The rules are the move's own: it is tried on a copy before anything is decided."""

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Nothing is shown before the plan, but what stands in the way is told at once."""
        now = view.ports.clock.now()
        asked: object = getattr(command, "proration_at", None)
        at = asked if isinstance(asked, datetime) else now
        self.planned(view.connection, view.ports, command, at, "look")
        return None

    def observe(self, work: Work) -> Observed:
        """The move on a copy, as of the call."""
        with work.ports.store.read() as connection:
            made = self.planned(connection, work.ports, work.command, instant_of(work), work.run.id)
        return Observed(parts=made.parts, facts={"amount_minor": made.amount_minor})

    def planned(
        self, connection: Connection, ports: Ports, command: Command, at: datetime, reference: str
    ) -> Planned:
        """What the move comes to."""
        return planned(connection, ports, command.target(), type(self).move, command, at, reference)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """Everything was worked out when it was planned; the books refuse what no longer holds."""
        return {}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The subscription as it stands now."""
        return described_subscription(view, run.tenant)
