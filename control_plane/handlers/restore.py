"""The lifecycle of restoring an offboarded tenant: its object, its guards, its observed plan. Its steps stand in restore_steps.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from control_plane.commands import Command, RestoreTenant
from control_plane.data.carry_over import CarryOver
from control_plane.domain.approval_record import Approval
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.load import tenant_row
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import backups, restore_steps, stack_steps
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.offers import offer_in, offered_by, parts_of, terms_needed
from control_plane.handlers.subscription_moves import agreed_before
from control_plane.handlers.tenant_moves import tenant_now, tenant_subject
from control_plane.handlers.tenants import described

OPERATION = "restore"


class RestoreTenantHandler(TenantLifecycle):
    """Brings an offboarded tenant back with its data, as a run with do, undo and probe."""

    kind = OPERATION
    command_type: type[Command] = RestoreTenant
    steps = restore_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, proposed as it was; ``loaded`` is the backup that it would come from."""
        assert isinstance(command, RestoreTenant)
        backup = backups.proven(view.connection, command.tenant)
        proposed: dict[str, object] = {
            "backup_verified": backup is not None,
            **_as_it_was(command.tenant, view),
        }
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)
        return replace(subject, loaded=backup)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """A backup is there, and the plan is still to be had."""
        facts, backup = subject.facts, subject.loaded
        assert isinstance(facts, TenantFacts)
        if facts.state != "deprovisioned":
            raise Refused(
                "Only an offboarded tenant is restored.",
                code="tenant_state",
                rule="tenant_machine",
                fact="state",
            )
        if not isinstance(backup, Backup):
            raise Refused(
                "There is no backup to restore.",
                code="not_restorable",
                rule="backup",
                fact="backup_verified",
            )
        offer_in(ports, facts.proposed_plan, facts.proposed_cloud, facts.proposed_region)

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Only the worker plans, but a plan that has a price by now needs terms: told at once."""
        assert isinstance(subject.facts, TenantFacts)
        known = subject.facts
        offer = offer_in(
            view.ports, known.proposed_plan, known.proposed_cloud, known.proposed_region
        )
        if offer.priced and agreed_before(view.connection, subject.tenant) is None:
            raise terms_needed()
        return None

    def observe(self, work: Work) -> Observed:
        """Plan the stack anew, and name the backup and what becomes of it; changes nothing."""
        tenant = tenant_now(work)
        with work.ports.store.read() as connection:
            backup = backups.proven(connection, tenant.id)
            agreed = agreed_before(connection, tenant.id)
        if backup is None:
            raise Refused("There is no backup to restore.", code="not_restorable", rule="backup")
        carry, _ = restore_steps.foreseen(work, backup)
        seen = stack_steps.observed(
            stack_steps.provisioner_of(work).observe(
                stack_steps.stack_request(work), should_stop=work.should_stop
            )
        )
        parts: dict[str, Json] = {
            **seen.parts,
            **parts_of(
                work.ports.catalog.plans.offer(tenant.plan),
                agreed,
                datetime.fromisoformat(work.run.as_of),
            ),
            "backup": plain(backup.model_dump(include=_TOLD)),
            **({} if carry is None else {"carried_over": _changes(carry)}),
        }
        return Observed(parts=parts, facts=seen.facts, artifact=seen.artifact)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that changes."""
        assert isinstance(command, RestoreTenant)
        return {"rows": {"tenant": command.tenant, "subscription": "active"}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant that is again."""
        return described(view, run.tenant)


_TOLD = {"id", "digest", "made_at", "verified_at", "contents"}


def _changes(carry: CarryOver) -> Json:
    """What changes about the rows on their way to the present declarations."""
    return [
        {"name": one.name, "message": one.message, "loses_data": one.loses_data}
        for one in carry.evolution.moves
    ]


def _as_it_was(tenant: str, view: View) -> dict[str, object]:
    found = tenant_row(view.connection, tenant)
    if found is None:
        return {}
    until = found.restorable_until
    return {
        "proposed_isolation": found.isolation,
        "proposed_plan": found.plan,
        "proposed_cloud": found.cloud,
        "proposed_region": found.region,
        **offered_by(view.ports, found.plan),
        # Not only at rest: the run that restores it has still to be in time at each step.
        "restorable": found.state in ("deprovisioned", "restoring")
        and until is not None
        and instant(view.ports.clock.now()) < until,
    }
