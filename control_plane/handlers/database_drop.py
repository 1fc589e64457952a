"""The lifecycle of removing a masked copy of a tenant's database. Not of one that serves, or was left: see finalise_move.py."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.database_commands import DropClone
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.database import DATABASE, Database
from control_plane.domain.run_record import Run
from control_plane.errors import Failed, Refused
from control_plane.facts.database import DatabaseFacts
from control_plane.facts.load import Standing, tenant_row
from control_plane.handlers.database_places import engine_of
from control_plane.handlers.database_rows import database_row, move_database
from control_plane.handlers.database_subject import absent_database, database_facts
from control_plane.handlers.databases import told_database
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
from control_plane.handlers.run_facts import run_facts
from control_plane.handlers.tenant_moves import inside_of

OPERATION: Final = "drop"


def condemn(work: Work, connection: Connection | None) -> dict[str, Json]:
    """From here on it is being removed."""
    inside = inside_of(connection)
    found = _named(work, inside)
    if found.purpose != "clone":
        raise Refused("The database is no copy.", code="not_a_clone", fact="purpose")
    return {"database": found.id, "state": move_database(work, inside, found, "delete")}


def drop(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Remove it; what was removed already is fine."""
    engine, home = engine_of(work, _now(work))
    engine.drop(work.run.tenant, home.isolation, work.epoch)
    if engine.exists(work.run.tenant, home.isolation):
        raise Failed("The database is still there.", code="database_remains", retryable=True)
    return {"dropped": True}


def probe_dropped(work: Work) -> Probe:
    """Whether it is gone."""
    engine, home = engine_of(work, _now(work))
    return "absent" if engine.exists(work.run.tenant, home.isolation) else "present"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Nothing stands there; its row stays and says so."""
    inside = inside_of(connection)
    found = _named(work, inside)
    return {"database": found.id, "state": move_database(work, inside, found, "succeed")}


class DropCloneHandler(TenantLifecycle):
    """Removes one copy; asked for by the house once its time is over, or by hand before."""

    kind = "database_clone_drop"
    command_type: type[Command] = DropClone
    steps: tuple[Step, ...] = (
        Step("condemn", do=condemn, irreversible=True),
        Step("drop", do=drop, probe=probe_dropped, outside=True, irreversible=True),
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
        """That database; another tenant's is not there."""
        assert isinstance(command, DropClone)
        found = database_row(view.connection, command.database)
        tenant = tenant_row(view.connection, command.tenant)
        known = absent_database(view, command.tenant)
        if found is not None and tenant is not None and found.tenant == tenant.id:
            known = database_facts(tenant, found, Standing(), member=known.member)
        asked = {
            "operation": OPERATION,
            **run_facts(view, run, approval, step, command.tenant),
        }
        facts = DatabaseFacts.model_validate(known.model_dump() | asked)
        return Subject(
            id=command.database,
            facts=facts,
            acts=(facts.stage,),
            tenant=command.tenant,
            loaded=found,
        )

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """It is in a state that it can be removed from; that it is a copy, policy says."""
        facts = subject.facts
        assert isinstance(facts, DatabaseFacts)
        if facts.stage == "propose" and "delete" not in DATABASE.legal(facts.state):
            raise Refused(
                "The database is in no state to be removed.",
                code="database_state",
                rule="database_machine",
                fact="state",
            )

    def observe(self, work: Work) -> Observed:
        """Nothing is looked at: it is to go whatever it holds."""
        return Observed()

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """What goes."""
        assert isinstance(command, DropClone)
        return {"rows": {"tenant": command.tenant, "dropped": command.database}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The database that was."""
        return told_database(view, run, "finish")


def _named(work: Work, connection: Connection) -> Database:
    assert isinstance(work.command, DropClone)
    found = database_row(connection, work.command.database)
    assert found is not None, "rows of databases are never deleted"
    return found


def _now(work: Work) -> Database:
    with work.ports.store.read() as connection:
        return _named(work, connection)
