"""The lifecycle of a resumption: its object and its guards. Its steps stand in resume_steps.py."""

from __future__ import annotations

from control_plane.commands import Command, ResumeTenant
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.house import is_house
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import TENANT
from control_plane.errors import Refused
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import resume_steps
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.house_cause import cause_parts
from control_plane.handlers.tenant_moves import tenant_subject
from control_plane.handlers.tenants import described

OPERATION = "resume"


class ResumeTenantHandler(TenantLifecycle):
    """Clears one reason; with the last one gone, opens the tenant again. Its plan is pure."""

    kind = OPERATION
    command_type: type[Command] = ResumeTenant
    steps = resume_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, there or not."""
        assert isinstance(command, ResumeTenant)
        proposed = {"proposed_reason": command.proposed_reason}
        return tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The tenant is suspended for this reason, and the reason is one that may be cleared."""
        assert isinstance(command, ResumeTenant)
        assert isinstance(subject.facts, TenantFacts)
        facts = subject.facts
        TENANT.next(facts.state, "clear")
        if command.proposed_reason not in facts.suspend_reasons:
            raise Refused(
                "The tenant is not suspended for this reason.",
                code="reason_not_present",
                rule="tenant.suspend_reasons",
                fact="suspend_reasons",
            )
        if command.proposed_reason == "billing" and not _settled(facts):
            raise Refused(
                "Only a settled payment clears this reason.",
                code="payment_required",
                rule="tenant.suspend_reasons",
                fact="proposed_reason",
            )

    def observe(self, work: Work) -> Observed:
        """Nothing outside of our store is part of the plan."""
        return Observed(parts=cause_parts(work.run))

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The reason that would go; whether the tenant opens follows from what is left."""
        assert isinstance(command, ResumeTenant)
        return {"rows": {"tenant": command.tenant, "cleared_reason": command.proposed_reason}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant as it stands now."""
        return described(view, run.tenant)


def _settled(facts: TenantFacts) -> bool:
    # Only the house, which knows what was paid, takes back what it has shut.
    return is_house(facts.requester) and facts.billing_access == "full"
