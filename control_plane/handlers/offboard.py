"""The lifecycle of offboarding: its object, its guards, its observed plan. Its steps stand in offboard_steps.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from control_plane.commands import Command, OffboardTenant
from control_plane.data.record_count import counted
from control_plane.data.team_archive import count_team
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, instant
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import TENANT
from control_plane.errors import Refused
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import backups, offboard_steps, stack_steps
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.house_cause import cause_parts, require_last_rung
from control_plane.handlers.move_rows import left_elsewhere
from control_plane.handlers.tenant_moves import database_of, tenant_now, tenant_subject
from control_plane.handlers.tenants import described

OPERATION = "offboard"
# How long a tenant that was offboarded can be restored, and its backup is kept.
RETENTION_DAYS: Final = 30
# Out of these a move is finalised; what ended in another is gone on with as it is.
_FINALISABLE: Final = ("active", "suspended")
_OFFBOARDABLE = frozenset(state for state in TENANT.states if "deprovision" in TENANT.legal(state))


class OffboardTenantHandler(TenantLifecycle):
    """Takes a tenant away, as a run: shut, backed up, proven, removed; restorable for a while."""

    kind = OPERATION
    command_type: type[Command] = OffboardTenant
    steps = offboard_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant; with a run in hand, at stage ``apply``, and whether its backup is proven.

        ``loaded`` are the databases that it has left on a stack of another model.
        """
        assert isinstance(command, OffboardTenant)
        proposed: dict[str, object] = {
            "proposed_cancel": command.proposed_cancel,
            "backup_verified": run is not None
            and backups.proven_by(view.connection, run.id, offboard_steps.PROVING),
        }
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)
        return replace(subject, loaded=left_elsewhere(view.connection, command.tenant))

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The tenant is in a state that offboarding starts from, and has left no stack behind.

        The house waits for the last rung.
        """
        assert isinstance(subject.facts, TenantFacts)
        if subject.facts.state not in _OFFBOARDABLE:
            raise Refused(
                "The tenant is in no state to be offboarded.",
                code="tenant_state",
                rule="tenant_machine",
                fact="state",
            )
        # What would be removed is planned, approved and destroyed as one stack: the tenant's own.
        if subject.facts.state in _FINALISABLE and subject.loaded:
            raise Refused(
                "A database that a move has left is kept, on a stack of its own: finalise the "
                "move first, with tenant_move_finalise.",
                code="move_not_finalised",
                rule="database.purpose",
                fact="isolation",
            )
        require_last_rung(subject.facts.requester, subject.facts.billing_level)

    def observe(self, work: Work) -> Observed:
        """Plan what would be destroyed, and count what would go with it; changes nothing."""
        request = stack_steps.stack_request(work)
        seen = stack_steps.observed(
            stack_steps.provisioner_of(work).observe(
                request, destroy=True, should_stop=work.should_stop
            )
        )
        until = datetime.fromisoformat(work.run.as_of) + timedelta(days=RETENTION_DAYS)
        parts: dict[str, Json] = {
            **seen.parts,
            "data": _data(work),
            "retention": {"days": RETENTION_DAYS, "restorable_until": instant(until)},
            **cause_parts(work.run),
        }
        return Observed(parts=parts, facts=seen.facts, artifact=seen.artifact)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The rows of ours that change."""
        assert isinstance(command, OffboardTenant)
        return {"rows": {"tenant": command.tenant, "cancel_subscription": command.proposed_cancel}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant that was, and until when it can be again."""
        return described(view, run.tenant)


def _data(work: Work) -> dict[str, Json]:
    """The database that would be dropped, and its rows as they are counted now."""
    tenant, (engine, model) = tenant_now(work), database_of(work)
    told: dict[str, Json] = {"display_name": tenant.display_name, "isolation": model}
    if not engine.exists(tenant.id, model):
        return {**told, "database": "absent"}
    with engine.reading(tenant.id, model) as connection:
        counts = counted(connection, stack_steps.collections_of(work), tenant.id)
        team = count_team(connection, team_shape(connection), tenant.id)
    own: dict[str, Json] = {"team_rows": {**team}} if team else {}
    return {**told, "database": "dropped", "records": {**counts}, **own}
