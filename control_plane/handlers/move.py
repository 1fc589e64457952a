"""The lifecycle of moving a living tenant to another database: its object, its guards, its observed plan. Its steps stand in move_steps.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from control_plane.commands import Command
from control_plane.data.record_count import counted
from control_plane.data.team_archive import count_team
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, instant
from control_plane.domain.home import Home
from control_plane.domain.isolation import Isolation
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.errors import Refused
from control_plane.facts.load import tenant_row
from control_plane.facts.tenant import TenantFacts
from control_plane.handlers import move_steps, stack_steps
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.move_money import money_of
from control_plane.handlers.offers import offered_by
from control_plane.handlers.stack_home import require_own, require_takes_rows
from control_plane.handlers.tenant_moves import database_of, tenant_now, tenant_subject
from control_plane.handlers.tenants import described
from control_plane.move_commands import MoveTenant

OPERATION: Final = "move"


class MoveTenantHandler(TenantLifecycle):
    """Moves a tenant that is in service, as a run with do, undo and probe."""

    kind = OPERATION
    command_type: type[Command] = MoveTenant
    steps = move_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The tenant, proposed where it is to go; its plan says whether it may."""
        assert isinstance(command, MoveTenant)
        found = tenant_row(view.connection, command.tenant)
        plan = "" if found is None else found.plan
        if command.change is not None:
            plan = command.change.plan
        proposed: dict[str, object] = {
            "proposed_plan": plan,
            "proposed_isolation": command.proposed_isolation,
            "proposed_server": command.proposed_server,
            "proposed_cloud": "" if found is None else found.cloud,
            "proposed_region": "" if found is None else found.region,
            **offered_by(view.ports, plan),
        }
        subject = tenant_subject(command.tenant, OPERATION, view, run, approval, step, proposed)
        return replace(subject, loaded=found)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """It is in service, and would come to stand elsewhere, on a server that there is."""
        assert isinstance(command, MoveTenant)
        facts, tenant = subject.facts, subject.loaded
        assert isinstance(facts, TenantFacts)
        server = command.proposed_server
        own = require_own(command.tenant, command.proposed_isolation, server)
        if not own and server not in ports.databases.names:
            raise Refused(
                "There is no such server.",
                code="server_unknown",
                rule="servers",
                fact="proposed_server",
            )
        if facts.stage != "propose":
            return
        if facts.state != "active":
            raise Refused(
                "The tenant is in no state to be moved.",
                code="tenant_state",
                rule="tenant_machine",
                fact="state",
            )
        if isinstance(tenant, Tenant) and _stands_there(tenant, command):
            raise Refused(
                "The tenant stands there already.",
                code="already_there",
                rule="tenant.home",
                fact="proposed_isolation",
            )

    def observe(self, work: Work) -> Observed:
        """Plan the stack that it would stand on, and tell its rows as they are; changes nothing."""
        wanted = move_steps.stack_wanted(work)
        require_takes_rows(work, wanted, move_steps.command_of(work).proposed_server)
        seen = stack_steps.observed(
            stack_steps.provisioner_of(work).observe(wanted, should_stop=work.should_stop)
        )
        parts: dict[str, Json] = {**seen.parts, **money_of(work), "data": _data(work)}
        return Observed(parts=parts, facts=seen.facts, artifact=seen.artifact)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that changes, and the limits that were agreed to."""
        assert isinstance(command, MoveTenant)
        return {
            "rows": {
                "tenant": command.tenant,
                "isolation": command.proposed_isolation,
                "server": command.proposed_server,
            },
            "limits": {"max_freeze_s": command.max_freeze_s, "keep_days": command.keep_days},
        }

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The tenant where it stands now."""
        return described(view, run.tenant)


def _stands_there(tenant: Tenant, command: MoveTenant) -> bool:
    return (tenant.isolation, tenant.server) == (
        command.proposed_isolation,
        command.proposed_server,
    )


def _data(work: Work) -> dict[str, Json]:
    """Whence and whither, how many rows by collection, and until when the way back is kept."""
    tenant, (engine, model) = tenant_now(work), database_of(work)
    command = move_steps.command_of(work)
    collections = stack_steps.collections_of(work)
    with engine.reading(tenant.id, model) as connection:
        found = counted(connection, collections, tenant.id)
        team = count_team(connection, team_shape(connection), tenant.id)
    until = datetime.fromisoformat(work.run.as_of) + timedelta(days=command.keep_days)
    proposed: Isolation = command.proposed_isolation  # type: ignore[assignment]
    return {
        "from": _told(tenant.home),
        "to": {"server": command.proposed_server, "isolation": proposed},
        "records": {**found},
        **({"team_rows": {**team}} if team else {}),
        "kept_until": instant(until),
    }


def _told(home: Home) -> dict[str, Json]:
    return {"server": home.server, "isolation": home.isolation, "slot": home.slot}
