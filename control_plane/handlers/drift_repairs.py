"""The lifecycle that brings a tenant's stack back to what was applied. It moves no tenant, and finds no drift by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, plain
from control_plane.domain.run_record import Run
from control_plane.domain.stack_record import StackRecord
from control_plane.errors import Failed, Refused
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import stack_steps
from control_plane.handlers.cost_estimates import no_stack
from control_plane.handlers.drift_checks import as_applied, known_now, known_stack, step_note
from control_plane.handlers.handler import (
    Observed,
    Ports,
    Probe,
    Step,
    Subject,
    TenantLifecycle,
    View,
    Work,
)
from control_plane.handlers.house_cause import cause_parts
from control_plane.handlers.infrastructure import addresses
from control_plane.handlers.offers import offered_by
from control_plane.handlers.stack_records import record_stack, stack_of_tenant
from control_plane.handlers.tenant_moves import inside_of, noted, tenant_subject
from control_plane.infrastructure_commands import RepairDrift

OPERATION: Final = "drift_repair"


def provision(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Apply exactly the saved plan that was decided on."""
    applied = stack_steps.provisioner_of(work).apply(
        as_applied(work, known_now(work)),
        stack_steps.saved_plan(work),
        should_stop=work.should_stop,
        tell=work.tell,
    )
    return {"resources": plain(applied.resources)}


def probe(work: Work) -> Probe:
    """Whether it stands as it was applied."""
    return stack_steps.provisioner_of(work).settle(as_applied(work, known_now(work)))


def verify(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that it stands as it was asked for; never assume."""
    provisioner = stack_steps.provisioner_of(work)
    seen = provisioner.look(as_applied(work, known_now(work)), should_stop=work.should_stop)
    if seen.settled != "present":
        raise Failed("The stack is not as planned.", code="stack_not_ready", retryable=True)
    held: dict[str, Json] = {"outputs": plain(seen.outputs), "resources": plain(seen.resources)}
    return {"stack": held}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Write down that it stands again."""
    inside = inside_of(connection)
    seen = noted(work, inside, "verify").get("stack")
    assert isinstance(seen, Mapping), "what was verified is noted"
    record_stack(work, inside, as_applied(work, known_stack(work, inside)), seen)
    known = known_stack(work, inside)
    return {
        "tenant": known.tenant,
        "cloud": known.cloud,
        "isolation": known.isolation,
        "region": known.region,
        "state": known.state,
        "resources": addresses(known.resources),
        "resource_count": len(known.resources),
        "plan_digest": known.plan_digest or None,
    }


class RepairDriftHandler(TenantLifecycle):
    """Plans the stack as it was asked for against what stands, and applies exactly that.

    What somebody changed by hand is kept nowhere: so it cannot be undone, and the run only goes on.
    """

    kind = OPERATION
    command_type: type[Command] = RepairDrift
    steps: tuple[Step, ...] = (
        Step(
            "provision",
            do=provision,
            probe=probe,
            outside=True,
            irreversible=True,
        ),
        Step("verify", do=verify, outside=True, irreversible=True),
        Step("finish", do=finish, irreversible=True),
    )

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, proposed where its stack is known to stand, with that stack."""
        assert isinstance(command, RepairDrift)
        found = stack_of_tenant(view.connection, command.tenant)
        proposed: dict[str, object] = {
            "proposed_plan": "" if found is None else found.plan,
            "proposed_isolation": "" if found is None else found.isolation,
            "proposed_cloud": "" if found is None else found.cloud,
            "proposed_region": "" if found is None else found.region,
            **offered_by(view.ports, "" if found is None else found.plan),
        }
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)
        return replace(subject, loaded=found)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The tenant is in service and has a stack; once it is planned, there is something to do.

        Refused with `stack_not_found`, `tenant_state` or `no_changes`.
        """
        facts = subject.facts
        assert isinstance(facts, TenantFacts)
        if not isinstance(subject.loaded, StackRecord):
            raise no_stack()
        if facts.state != "active":
            raise Refused(
                "The tenant is in no state to have its stack repaired.",
                code="tenant_state",
                rule="tenant_machine",
                fact="state",
            )
        if facts.stage == "apply" and facts.infra_blast_radius == 0:
            raise Refused(
                "The stack stands as it was applied.",
                code="no_changes",
                rule="stack.drift",
                fact="infra_blast_radius",
            )

    def observe(self, work: Work) -> Observed:
        """Plan the stack against what stands; changes nothing."""
        provisioner = stack_steps.provisioner_of(work)
        request = as_applied(work, known_now(work))
        seen = provisioner.observe(request, should_stop=work.should_stop)
        planned = stack_steps.observed(seen)
        return replace(planned, parts={**planned.parts, **cause_parts(work.run)})

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that is written."""
        assert isinstance(command, RepairDrift)
        return {"rows": {"stack_of": command.tenant, "repaired": True}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The stack as this run has left it."""
        return step_note(view, run, "finish")
