"""The lifecycle of bringing a tenant's data back to a backup, or to a database that was left: never in place. Its steps stand in database_restore_steps.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control_plane.commands import Command
from control_plane.data import archive
from control_plane.data.record_count import counted
from control_plane.data.team_archive import count_team
from control_plane.database_commands import RestoreDatabase
from control_plane.databases.team_catalog import team_shape
from control_plane.domain.approval_record import Approval
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, plain
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.handlers import backups, database_restore_steps
from control_plane.handlers.database_places import engine_of, kept_until, way_back
from control_plane.handlers.database_restore_steps import command_of, not_kept
from control_plane.handlers.database_subject import database_subject
from control_plane.handlers.databases import described_database
from control_plane.handlers.handler import Observed, Ports, Subject, TenantLifecycle, View, Work
from control_plane.handlers.restore_steps import foreseen
from control_plane.handlers.stack_steps import collections_of
from control_plane.handlers.tenant_moves import database_of

OPERATION: Final = "restore"
BACK: Final = "swap_back"
_TOLD: Final = {"id", "digest", "made_at", "verified_at"}


class RestoreDatabaseHandler(TenantLifecycle):
    """Makes the database anew beside the one that serves, and lets it take over."""

    kind = "database_restore"
    command_type: type[Command] = RestoreDatabase
    steps = database_restore_steps.STEPS

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The database that serves the tenant, and whether there is what is to take its place."""
        assert isinstance(command, RestoreDatabase)
        tenant, known = command.tenant, view.connection
        proposed: dict[str, object] = {
            "backup_verified": backups.restorable(known, tenant, command.backup) is not None,
            "former_kept": way_back(known, tenant, command.former) is not None
            or (run is not None and step != ""),
        }
        operation = OPERATION if command.backup else BACK
        return database_subject(tenant, operation, view, run, approval, step, proposed)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """Policy says all there is to say."""

    def observe(self, work: Work) -> Observed:
        """Count what stands and what would take its place; changes nothing."""
        asked = command_of(work)
        until: dict[str, Json] = {"former": {"kept_until": kept_until(work, asked.keep_days)}}
        if not asked.backup:
            return self._observed_back(work, until)
        with work.ports.store.read() as connection:
            backup = backups.restorable(connection, asked.tenant, asked.backup)
        if backup is None:
            raise Refused("There is no such backup.", code="backup_not_verified", rule="backup")
        counted = _counts(foreseen(work, backup)[1])
        return _told(work, counted, {**until, "backup": _named(backup)})

    def _observed_back(self, work: Work, until: dict[str, Json]) -> Observed:
        asked = command_of(work)
        with work.ports.store.read() as connection:
            former = way_back(connection, asked.tenant, asked.former)
        if former is None:
            raise not_kept()
        engine, home = engine_of(work, former)
        with engine.reading(asked.tenant, home.isolation) as source:
            found = plain(archive.summary(source, collections_of(work), asked.tenant))
        assert isinstance(found, Mapping)
        return _told(work, _counts(found), {**until, "back_to": former.id})

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The rows that change."""
        assert isinstance(command, RestoreDatabase)
        return {"rows": {"tenant": command.tenant, "database": "another one"}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The database that serves now, and the one that it took the place of."""
        return described_database(view, run.tenant)


def _told(work: Work, then: Mapping[str, int], parts: dict[str, Json]) -> Observed:
    """What stands now beside what stood then, by table; and how many more rows there are now."""
    engine, model = database_of(work)
    with engine.reading(work.run.tenant, model) as source:
        team = count_team(source, team_shape(source), work.run.tenant)
        now = {**counted(source, collections_of(work), work.run.tenant), **team}
    tables: dict[str, Json] = {
        name: {"now": now.get(name, 0), "then": then.get(name, 0)}
        for name in sorted({*now, *then})
        if not name.startswith("paybill_")
    }
    # By count alone: what was changed in place, or taken out and replaced, is not among them.
    lost = sum(max(rows - then.get(name, 0), 0) for name, rows in now.items())
    return Observed(
        parts={**parts, "data": {"tables": tables, "rows_lost": lost}}, facts={"rows_lost": lost}
    )


def _counts(contents: Mapping[str, Json]) -> dict[str, int]:
    tables = contents["tables"]
    assert isinstance(tables, Mapping)
    return {name: int(str(one["rows"])) for name, one in tables.items() if isinstance(one, Mapping)}


def _named(backup: Backup) -> Json:
    return plain(backup.model_dump(include=_TOLD))
