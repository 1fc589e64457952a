"""The lifecycle of a backup while calls go on, or its tenant is suspended: archived from one snapshot, restored on trial, then a backup. Not an offboarding's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.database_commands import BackUpDatabase
from control_plane.domain.approval_record import Approval
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, instant
from control_plane.domain.plans import BackupTerms
from control_plane.domain.run_record import Run
from control_plane.errors import Failed, NotFound
from control_plane.handlers import backups, stack_steps
from control_plane.handlers.backup_proof import Wanted, prove, taken
from control_plane.handlers.backup_told import told_of
from control_plane.handlers.database_subject import database_subject, move_serving, serving_of
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
from control_plane.handlers.tenant_moves import database_of, inside_of, tenant_now

OPERATION: Final = "backup"


def backup_terms(ports: Ports, plan: str) -> BackupTerms:
    """How databases are backed up on a plan; on one that is no longer offered, as by default."""
    try:
        return ports.catalog.plans.offer(plan).backups
    except NotFound:
        return BackupTerms()


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the database in hand; its calls go on. That of a suspended tenant stays shut."""
    inside = inside_of(connection)
    found = serving_of(work, inside)
    return {"database": found.id, "state": move_serving(work, inside, "back_up")}


def let_go(work: Work, connection: Connection | None) -> None:
    """Leave the database as it was."""
    move_serving(work, inside_of(connection), "fail")


def back_up(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Archive what one snapshot sees."""
    tenant, (engine, model) = tenant_now(work), database_of(work)
    wanted = Wanted(backups.own_id(work.run.id), tenant.home, _until(work))
    if not engine.exists(tenant.id, model):
        raise Failed("The tenant's database is gone.", code="database_missing")
    with engine.reading(tenant.id, model) as source:
        made = taken(work, source, stack_steps.collections_of(work), wanted)
    backups.keep(work, made)
    return {"backup_id": made.id, "digest": made.digest}


def forget(work: Work, connection: Connection | None) -> None:
    """What was not proven is no backup, and does not stay."""
    backups.discard(work)


def probe_backup(work: Work) -> Probe:
    """Whether the archive is whole: its row is written then."""
    with work.ports.store.read() as connection:
        found = backups.backup_of_run(connection, work.run.id)
    return "absent" if found is None else "present"


def verify(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Restore the archive on trial; it must come to what the snapshot held, by count and checksum.

    What has been written since is none of it.
    """
    made = _made(work)
    prove(work, made, database_of(work)[0], stack_steps.collections_of(work))
    backups.mark_verified(work, made)
    return {"backup_id": made.id}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """The database is as before, and the backup stands."""
    return {"state": move_serving(work, inside_of(connection), "succeed")}


class BackUpDatabaseHandler(TenantLifecycle):
    """Backs up the database that serves a tenant."""

    kind = "database_backup"
    command_type: type[Command] = BackUpDatabase
    steps: tuple[Step, ...] = (
        Step("begin", do=begin, undo=let_go),
        Step("backup", do=back_up, undo=forget, probe=probe_backup, outside=True),
        Step("verify", do=verify, outside=True),
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
        """The database that serves the tenant."""
        assert isinstance(command, BackUpDatabase)
        return database_subject(command.tenant, OPERATION, view, run, approval, step, {})

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """Policy says all there is to say."""

    def observe(self, work: Work) -> Observed:
        """How long it is to be kept, by the tenant's plan; nothing is read."""
        days = backup_terms(work.ports, tenant_now(work).plan).keep_days
        until = datetime.fromisoformat(work.run.as_of) + timedelta(days=days)
        return Observed(parts={"retention": {"days": days, "restorable_until": instant(until)}})

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that comes to be."""
        assert isinstance(command, BackUpDatabase)
        return {"rows": {"backup_of": command.tenant}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The backup."""
        made = backups.backup_of_run(view.connection, run.id)
        if made is None:
            raise Failed("There is no backup.", code="backup_missing")
        return told_of(made)


def _made(work: Work) -> Backup:
    with work.ports.store.read() as connection:
        found = backups.backup_of_run(connection, work.run.id)
    if found is None:
        raise Failed("There is no backup.", code="backup_missing")
    return found


def _until(work: Work) -> str:
    parts = (work.run.plan or {}).get("parts")
    kept = parts.get("retention") if isinstance(parts, Mapping) else None
    assert isinstance(kept, Mapping), "a run is planned before it begins"
    return str(kept["restorable_until"])
