"""The lifecycle by which a tenant's stack comes to the plan that its subscription is on. Moves no money, and no right.

A smaller plan holds from a period's end on, and a larger one from its payment: the clock moves the
subscription, and the house asks for this run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from control_plane.billing.book_store import unfit
from control_plane.commands import Command, FollowPlan
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.domain.subscription import Subscription
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import stack_steps
from control_plane.handlers.handler import (
    Observed,
    Ports,
    Step,
    Subject,
    TenantLifecycle,
    View,
    Work,
)
from control_plane.handlers.house_cause import cause_parts
from control_plane.handlers.offers import offered_by
from control_plane.handlers.subscription_steps import PROVISION, stack_of
from control_plane.handlers.tenant_moves import (
    change_tenant,
    inside_of,
    tenant_of,
    tenant_subject,
)
from control_plane.handlers.tenants import described

OPERATION: Final = "follow_plan"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """The tenant is on the plan that its stack has come to; Refused where that holds no more."""
    assert isinstance(work.command, FollowPlan)
    inside = inside_of(connection)
    held = subscription_row(inside, work.run.tenant)
    if held is None or held.plan != work.command.proposed_plan:
        raise _moved()
    change_tenant(inside, tenant_of(work, inside), plan=held.plan)
    return {"plan": held.plan}


class FollowPlanHandler(TenantLifecycle):
    """Plans the stack for the subscription's plan, and applies exactly that."""

    kind = OPERATION
    command_type: type[Command] = FollowPlan
    steps: tuple[Step, ...] = (PROVISION, Step("finish", do=finish, irreversible=True))

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, proposed on the plan."""
        assert isinstance(command, FollowPlan)
        found = tenant_row(view.connection, command.tenant)
        proposed: dict[str, object] = {
            "proposed_plan": command.proposed_plan,
            "proposed_isolation": "" if found is None else found.isolation,
            "proposed_cloud": "" if found is None else found.cloud,
            "proposed_region": "" if found is None else found.region,
            **offered_by(view.ports, command.proposed_plan),
        }
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)
        held = subscription_row(view.connection, command.tenant)
        return replace(subject, loaded=held)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """It is in service, and not yet on the plan that its subscription is on."""
        assert isinstance(command, FollowPlan)
        assert isinstance(subject.facts, TenantFacts)
        if subject.facts.state != "active":
            raise Refused(
                "The tenant is in no state to follow its plan.",
                code="tenant_state",
                rule="tenant_machine",
                fact="state",
            )
        held = subject.loaded
        if not isinstance(held, Subscription) or held.plan != command.proposed_plan:
            raise _moved()
        if subject.facts.plan == command.proposed_plan:
            raise Refused(
                "The tenant's stack is on the plan already.",
                code="plan_followed",
                rule="subscription.plan",
                fact="plan",
            )

    def observe(self, work: Work) -> Observed:
        """Plan the stack on that plan against what stands; changes nothing.

        Refused (`does_not_fit`, `plan_not_found`) here and not when it is asked for: so the run
        shows it.
        """
        assert isinstance(work.command, FollowPlan)
        _require_fit(work)
        seen = stack_steps.observed(
            stack_steps.provisioner_of(work).observe(
                stack_of(work, work.command.proposed_plan), should_stop=work.should_stop
            )
        )
        parts = {**seen.parts, **cause_parts(work.run)}
        return Observed(parts=parts, facts=seen.facts, artifact=seen.artifact)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that changes."""
        assert isinstance(command, FollowPlan)
        return {"rows": {"tenant": command.tenant, "plan": command.proposed_plan}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant as it stands now."""
        return described(view, run.tenant)


def _require_fit(work: Work) -> None:
    with work.ports.store.read() as connection:
        held = subscription_row(connection, work.run.tenant)
        if held is None or held.terms is None:
            return
        try:
            offer = work.ports.catalog.plans.offer(held.plan, held.plan_version)
        except NotFound:
            raise Refused(
                "There is no such plan.",
                code="plan_not_found",
                rule="catalog.plans",
                fact="proposed_plan",
            ) from None
        found = unfit(connection, held.tenant, offer, held.terms)
    if found:
        raise Refused(
            "The tenant does not fit into the plan.",
            code="does_not_fit",
            rule="subscription.fits",
            fact=found[0],
        )


def _moved() -> Refused:
    return Refused(
        "The subscription is on another plan by now.",
        code="subscription_moved",
        rule="subscription.plan",
        fact="proposed_plan",
    )
