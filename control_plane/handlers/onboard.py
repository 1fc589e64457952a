"""The lifecycle of onboarding: its object, its guards, its observed plan. Its steps stand in onboard_steps.py."""

from __future__ import annotations

from dataclasses import replace

from control_plane.billing import coupon_store
from control_plane.billing.coupons import redeemed_already
from control_plane.commands import Command, OnboardTenant
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import onboard_steps, stack_steps
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.offers import (
    agreed_offer,
    check_coupon,
    coupon_of,
    offered_by,
    parts_of,
)
from control_plane.handlers.stack_home import home_part
from control_plane.handlers.subscriptions import payment_action
from control_plane.handlers.tenant_moves import tenant_subject
from control_plane.handlers.tenants import described

_RESUMABLE = frozenset({"", "pending", "provision_failed"})
OPERATION = "onboard"


class OnboardTenantHandler(TenantLifecycle):
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
        proposed: dict[str, object] = {
            "proposed_isolation": command.proposed_isolation,
            "proposed_plan": command.proposed_plan,
            "proposed_cloud": command.proposed_cloud,
            "proposed_region": command.proposed_region,
            **offered_by(view.ports, command.proposed_plan),
        }
        # The name is the caller's to use or not, whether or not a tenant bears it yet.
        return tenant_subject(
            command.tenant, OPERATION, view, run, approval, step, proposed, reads=("register",)
        )

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The plan exists and offers this; the tenant is not there, or failed to come."""
        assert isinstance(command, OnboardTenant)
        assert isinstance(subject.facts, TenantFacts)
        agreed_offer(
            ports,
            command.proposed_plan,
            command.proposed_cloud,
            command.proposed_region,
            command.agreement,
        )
        if subject.facts.stage == "propose" and subject.facts.state not in _RESUMABLE:
            raise Refused(
                "A tenant of this name exists.",
                code="tenant_exists",
                rule="tenant.name",
                fact="exists",
            )

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Nothing yet; Refused where its coupon was redeemed by this tenant, or by all that may."""
        assert isinstance(command, OnboardTenant)
        coupon = coupon_of(view.ports, command.agreement)
        if coupon is not None:
            if coupon.code in coupon_store.redemptions(view.connection, command.tenant):
                raise redeemed_already()
            offer = view.ports.catalog.plans.offer(command.proposed_plan)
            redeemed = coupon_store.redeemed(view.connection, coupon.code)
            check_coupon(view.ports, offer, command.agreement, redeemed)
        return None

    def observe(self, work: Work) -> Observed:
        """Plan the stack against what stands, changing nothing."""
        command = work.command
        assert isinstance(command, OnboardTenant)
        wanted = stack_steps.requested(
            work,
            command.proposed_cloud,
            command.proposed_isolation,
            command.proposed_plan,
            command.proposed_region,
        )
        provisioner = stack_steps.provisioner_of(work)
        seen = stack_steps.observed(provisioner.observe(wanted, should_stop=work.should_stop))
        return replace(seen, parts={**seen.parts, **home_part(work, wanted)})

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """Rows, entitlement and money."""
        assert isinstance(command, OnboardTenant)
        offer = ports.catalog.plans.offer(command.proposed_plan)
        coupon = coupon_of(ports, command.agreement)
        return {
            **parts_of(offer, command.agreement, ports.clock.now(), coupon),
            "rows": {
                "tenant": command.tenant,
                "display_name": command.display_name,
                "isolation": command.proposed_isolation,
                "cloud": command.proposed_cloud,
                "region": command.proposed_region,
                "collections": sorted(ports.catalog.collections),
            },
        }

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant that now is, and what its first payment waits for."""
        waits = payment_action(view.connection, run.tenant)
        return {**described(view, run.tenant), "payment_action": waits}
