"""The lifecycle of a campaign: its object, its guards, its plan, its answer. Its steps stand in fleet_migration_steps.py.

It is about every tenant and holds none: whom another run has in hand is taken later.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from control_plane.commands import Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.canonical import Json
from control_plane.domain.run import RUN_ACTIVE
from control_plane.domain.run_record import Run
from control_plane.errors import Conflict
from control_plane.facts.fleet import FleetFacts
from control_plane.fleet.campaigns import campaign_of_run, newest
from control_plane.fleet_commands import StartFleetMigration
from control_plane.handlers import fleet_migration_steps
from control_plane.handlers.catalog_in_force import require_whole
from control_plane.handlers.fleet_plan import facts_of, parts_of, planned
from control_plane.handlers.fleet_views import described_campaign
from control_plane.handlers.handler import Observed, Ports, Subject, View, Work
from control_plane.handlers.run_facts import run_facts
from control_plane.store import tables

KIND: Final = "fleet_migration"
FLEET: Final = "fleet"


class FleetMigrationHandler:
    """Brings every tenant's database to the same migration, a canary first."""

    kind = KIND
    command_type: type[Command] = StartFleetMigration
    steps = fleet_migration_steps.STEPS
    holds = False

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The fleet; with a run in hand, at stage ``apply`` and with what its plan counts."""
        asked = _asked(command)
        known = {
            "exists": True,
            "member": EVERY_TENANT in view.caller.tenants,
            "failures_max": asked.failures_max,
            **run_facts(view, run, approval, step, ""),
        }
        facts = FleetFacts.model_validate(known)
        return Subject(id=FLEET, facts=facts, acts=(facts.stage,))

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """There is something to do, and every database serves one catalog alone."""
        assert isinstance(subject.facts, FleetFacts)
        if subject.facts.stage != "propose":
            return
        with ports.store.read() as connection:
            require_whole(connection)
            planned(connection, ports, _asked(command).through)

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Nothing yet. Conflict while another run of the kind is under way."""
        run = tables.run
        under_way = sorted(RUN_ACTIVE - {"compensation_failed"})
        others = (run.c.kind == KIND) & run.c.state.in_(under_way)
        found = view.connection.execute(select(run.c.id).where(others)).scalars().first()
        if found is not None:
            raise Conflict("A campaign is under way.", run_id=found)
        return None

    def observe(self, work: Work) -> Observed:
        """Read which migrations are missing, and who is to have them; changes nothing."""
        with work.ports.store.read() as connection:
            plan = planned(connection, work.ports, _asked(work.command).through)
        return Observed(parts=parts_of(plan), facts=facts_of(plan, work.ports))

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """How many may fail: all else was observed."""
        return {"budget": {"failures_max": _asked(command).failures_max}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The campaign as it stands."""
        found = campaign_of_run(view.connection, run.id) or newest(view.connection)
        assert found is not None, "its first step has written it"
        return described_campaign(view.connection, found)


def _asked(command: Command) -> StartFleetMigration:
    assert isinstance(command, StartFleetMigration)
    return command
