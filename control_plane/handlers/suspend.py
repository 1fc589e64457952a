"""The lifecycle of a suspension: its object and its guards. Its steps stand in suspend_steps.py."""

from __future__ import annotations

from control_plane.commands import Command, SuspendTenant
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import TENANT, stricter
from control_plane.errors import Refused
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import suspend_steps
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.tenant_moves import tenant_subject
from control_plane.handlers.tenants import described

OPERATION = "suspend"


class SuspendTenantHandler(TenantLifecycle):
    """Shuts a tenant. Its plan is pure: what will be follows from the command and our store."""

    kind = OPERATION
    command_type: type[Command] = SuspendTenant
    steps = suspend_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, there or not."""
        assert isinstance(command, SuspendTenant)
        proposed = {
            "proposed_reason": command.proposed_reason,
            "proposed_access": command.proposed_access,
        }
        return tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The tenant can be suspended, and is not for this reason already."""
        assert isinstance(command, SuspendTenant)
        assert isinstance(subject.facts, TenantFacts)
        facts = subject.facts
        TENANT.next(facts.state, "suspend")
        strict = stricter(facts.access_mode, command.proposed_access)
        if command.proposed_reason in facts.suspend_reasons and strict == facts.access_mode:
            raise Refused(
                "The tenant is suspended for this reason already.",
                code="already_suspended",
                rule="tenant.suspend_reasons",
                fact="suspend_reasons",
            )

    def observe(self, work: Work) -> Observed:
        """Nothing outside of our store is part of the plan."""
        return Observed()

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that would change, and the database that would be shut."""
        assert isinstance(command, SuspendTenant)
        return {
            "rows": {
                "tenant": command.tenant,
                "suspend_reason": command.proposed_reason,
                "access_at_most": command.proposed_access,
            },
            "database": {"tenant": command.tenant, "open": False},
        }

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant as it stands now."""
        return described(view, run.tenant)
