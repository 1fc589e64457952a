"""The lifecycle of onboarding: its object, its guards, its observed plan. Its steps stand in onboard_steps.py."""

from __future__ import annotations

from control_plane.commands import Command, OnboardTenant
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.run_record import Run
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import subscription_row, tenant_facts, tenant_row
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import onboard_steps
from control_plane.handlers.handler import Observed, Ports, Subject, View, Work
from control_plane.handlers.settings import approval_rule
from control_plane.handlers.tenants import describe

_RESUMABLE = frozenset({"", "pending", "provision_failed"})
OPERATION = "onboard"


class OnboardTenantHandler:
    """Brings a tenant into being, as a run with do, undo and probe."""

    kind = OPERATION
    command_type: type[Command] = OnboardTenant
    steps = onboard_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant that is to be; with a run in hand, at stage ``apply``."""
        assert isinstance(command, OnboardTenant)
        stage = "propose" if run is None else "apply"
        known = tenant_facts(view.connection, view.caller, command.tenant)
        proposed: dict[str, object] = {
            "operation": OPERATION,
            "stage": stage,
            "step": step,
            "proposed_isolation": command.proposed_isolation,
            "proposed_plan": command.proposed_plan,
            "proposed_region": command.proposed_region,
            "plan_isolations": self._isolations(command, view.ports),
            "approval_rule": approval_rule(view.connection),
            "requester": view.caller.principal if run is None else run.principal,
        }
        if run is not None:
            proposed |= _settled_facts(run, approval, instant(view.ports.clock.now()))
        facts = TenantFacts.model_validate(known.model_dump() | proposed)
        # The name is the caller's to use or not, whether or not a tenant bears it yet.
        return Subject(
            id=command.tenant,
            facts=facts,
            reads=("register",),
            acts=(stage,),
            tenant=command.tenant,
        )

    def _isolations(self, command: OnboardTenant, ports: Ports) -> tuple[str, ...]:
        try:
            return tuple(ports.catalog.plans.offer(command.proposed_plan).isolations)
        except NotFound:
            return ()

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The plan exists and offers this; the tenant is not there, or failed to come."""
        assert isinstance(command, OnboardTenant)
        assert isinstance(subject.facts, TenantFacts)
        try:
            offer = ports.catalog.plans.offer(command.proposed_plan)
        except NotFound:
            raise Refused(
                "There is no such plan.",
                code="plan_not_found",
                rule="catalog.plans",
                fact="proposed_plan",
            ) from None
        if command.proposed_region not in offer.regions:
            raise Refused(
                "The plan is not offered in this region.",
                code="region_not_in_plan",
                rule="catalog.plans",
                fact="proposed_region",
            )
        if offer.price_minor > 0:
            raise Refused(
                "A plan with a price needs a payment first.",
                code="payment_required",
                rule="catalog.plans",
                fact="proposed_plan",
            )
        if subject.facts.stage == "propose" and subject.facts.state not in _RESUMABLE:
            raise Refused(
                "A tenant of this name exists.",
                code="tenant_exists",
                rule="tenant.name",
                fact="exists",
            )

    def observe(self, work: Work) -> Observed:
        """Plan the stack against what stands, changing nothing."""
        assert isinstance(work.command, OnboardTenant)
        seen = onboard_steps.provisioner_of(work).observe(
            onboard_steps.stack_request(work), should_stop=work.should_stop
        )
        facts: dict[str, Json] = {
            "infra_creates": seen.facts.creates,
            "infra_deletes": seen.facts.deletes,
            "infra_replaces": seen.facts.replaces,
            "infra_stateful_deletes": len(seen.facts.stateful_deletes),
            "infra_local_exec": seen.facts.local_exec,
            # The provisioner plans a module with a provisioner only where its digest is admitted.
            "module_admitted": seen.facts.local_exec,
        }
        parts: dict[str, Json] = {
            "infrastructure": {"digest": seen.digest, "changes": plain(seen.projection)}
        }
        return Observed(parts=parts, facts=facts, artifact=seen.artifact)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """Rows, entitlement and money."""
        assert isinstance(command, OnboardTenant)
        offer = ports.catalog.plans.offer(command.proposed_plan)
        return {
            "entitlement": plain(offer),
            "money": {"due_minor": offer.price_minor, "currency": offer.currency},
            "rows": {
                "tenant": command.tenant,
                "display_name": command.display_name,
                "isolation": command.proposed_isolation,
                "region": command.proposed_region,
                "collections": sorted(ports.catalog.collections),
            },
        }

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant that now is."""
        tenant = tenant_row(view.connection, run.tenant)
        subscription = subscription_row(view.connection, run.tenant)
        assert tenant is not None, "an applied run has made its tenant"
        return describe(tenant, "" if subscription is None else subscription.state)


def _settled_facts(run: Run, approval: Approval | None, now: str) -> dict[str, object]:
    facts: dict[str, object] = {**(run.plan_facts or {}), "plan_digest": run.plan_digest}
    if approval is None:
        return facts
    in_force = approval.state in ("approved", "consumed") and approval.run_id == run.id
    return facts | {
        "approval_present": in_force,
        "approval_by": approval.decided_by or "",
        "approval_digest": approval.plan_digest,
        # Once consumed it holds for the rest of this run: its age was decided on when it was used.
        "approval_expired": approval.state == "approved" and approval.expires_at <= now,
    }
