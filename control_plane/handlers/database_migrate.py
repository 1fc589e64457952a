"""The lifecycle that brings one tenant's database to the migrations in force. Not a campaign: what none has begun, nobody gets by it.

What was applied stays: a later failure takes none of it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.database_commands import MigrateDatabase
from control_plane.domain.approval_record import Approval
from control_plane.domain.campaign import place_of
from control_plane.domain.canonical import Json
from control_plane.domain.database import Database
from control_plane.domain.run_record import Run
from control_plane.errors import Failed, NotFound, PaybillError, Refused
from control_plane.facts.database import DatabaseFacts
from control_plane.fleet import campaigns
from control_plane.handlers.catalog_in_force import require_whole
from control_plane.handlers.database_subject import database_subject, move_serving, serving_of
from control_plane.handlers.drift_checks import step_note
from control_plane.handlers.fleet_bring_up import bring_on
from control_plane.handlers.fleet_plan import plan_digest, told_migration, weighed
from control_plane.handlers.fleet_views import told_receipt
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
from control_plane.handlers.migrations_owed import Owed, owed, reach, require_owed
from control_plane.handlers.tenant_moves import inside_of, tenant_now

OPERATION: Final = "migrate"


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the database in hand; its calls go on. That of a suspended tenant stays shut."""
    inside = inside_of(connection)
    found = serving_of(work, inside)
    move_serving(work, inside, "migrate")
    planned = {name: _planned(work)[name] for name in ("had", "first", "last")}
    return {"database": found.id, "place": place_of(found.home), **planned}


def let_go(work: Work, connection: Connection | None) -> None:
    """Leave the database at rest, with what it has had by then."""
    move_serving(work, inside_of(connection), "fail")


def still(work: Work, connection: Connection) -> None:
    """The campaign that has begun them was not aborted since. Refused (`migration_not_in_force`)."""
    reach(connection, work.ports, int(_planned(work)["last"]))


def apply(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Apply what is missing, in order, and look that nothing is."""
    planned = _planned(work)
    first, last = int(planned["first"]), int(planned["last"])
    with work.ports.store.read() as inside:
        reach(inside, work.ports, last)
    bring_on(work, first, last)
    if probe_applied(work) != "present":
        raise Failed("A migration is still missing.", code="database_not_ready", retryable=True)
    return {"last": last}


def probe_applied(work: Work) -> Probe:
    """Whether the database has all of them, and so say its receipts."""
    try:
        left = _owed(work, int(_planned(work)["last"]))
    except NotFound:
        return "absent"
    return "absent" if left.migrations else "present"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """The database is at rest again."""
    return {"state": move_serving(work, inside_of(connection), "succeed")}


class MigrateDatabaseHandler(TenantLifecycle):
    """Brings the database that serves a tenant to what campaigns have begun."""

    kind = "database_migrate"
    command_type: type[Command] = MigrateDatabase
    steps: tuple[Step, ...] = (
        Step("begin", do=begin, undo=let_go),
        Step("apply", do=apply, probe=probe_applied, outside=True, irreversible=True, still=still),
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
        """The database that serves the tenant; with a run in hand, with what its plan weighs."""
        assert isinstance(command, MigrateDatabase)
        return database_subject(command.tenant, OPERATION, view, run, approval, step, {})

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """It goes no further than campaigns have begun, and the database serves one catalog alone."""
        assert isinstance(command, MigrateDatabase)
        assert isinstance(subject.facts, DatabaseFacts)
        with ports.store.read() as connection:
            reach(connection, ports, command.through)
            if subject.facts.stage == "propose":
                require_whole(connection)

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Nothing yet. Refused (`nothing_to_migrate`); what cannot be seen from here, the worker sees."""
        assert isinstance(command, MigrateDatabase)
        if not isinstance(subject.loaded, Database):
            return None
        home = subject.loaded.home
        try:
            require_owed(view.connection, view.ports, command.tenant, home, command.through)
        except Refused:
            raise
        except PaybillError:
            return None
        return None

    def observe(self, work: Work) -> Observed:
        """Read which migrations the database is without, and weigh them; changes nothing."""
        command, ports, home = _asked(work.command), work.ports, tenant_now(work).home
        with ports.store.read() as connection:
            try:
                found = require_owed(connection, ports, command.tenant, home, command.through)
            except NotFound:
                raise Failed("The tenant's database is gone.", code="database_missing") from None
        told: list[Json] = [
            {**told_migration(one), "stands": one.number in found.standing}
            for one in found.migrations
        ]
        parts: dict[str, Json] = {
            "migrate": {
                "had": found.had,
                "first": found.first,
                "last": found.last,
                "digest": plan_digest(found.migrations),
                "migrations": told,
                "isolation": home.isolation,
                # Whoever shares the tables gets it too.
                "shared": home.isolation == "pooled",
            }
        }
        return Observed(parts=parts, facts=weighed(found.missing, ports))

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """Whose database it is."""
        return {"rows": {"database_of": _asked(command).tenant}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """From which migration to which, and the receipts."""
        noted: dict[str, Any] = step_note(view, run, "begin")
        numbers = range(noted["first"], noted["last"] + 1)
        receipts = campaigns.receipts_of(view.connection, run.tenant)
        return {
            "tenant": run.tenant,
            "database": noted["database"],
            "migrated_from": noted["had"],
            "migrated_to": noted["last"],
            "receipts": [
                told_receipt(one)
                for one in receipts
                if one.place == noted["place"] and one.number in numbers
            ],
        }


def _asked(command: Command) -> MigrateDatabase:
    assert isinstance(command, MigrateDatabase)
    return command


def _owed(work: Work, last: int) -> Owed:
    with work.ports.store.read() as connection:
        return owed(connection, work.ports, work.run.tenant, tenant_now(work).home, last)


def _planned(work: Work) -> Mapping[str, Any]:
    parts = (work.run.plan or {}).get("parts")
    found = parts.get("migrate") if isinstance(parts, Mapping) else None
    assert isinstance(found, Mapping), "a run is planned before it begins"
    return found
