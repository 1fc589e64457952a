"""The lifecycle of a masked copy of a tenant's database, beside it and for a while. Nobody's calls are served by it."""

from __future__ import annotations

import hmac
import tempfile
from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.data import archive
from control_plane.data.applied import require_fence
from control_plane.data.field import OPEN_GROUP
from control_plane.data.masking import Masking, groups_of, in_clear, shows_handled
from control_plane.data.record_count import counted
from control_plane.database_commands import CloneDatabase
from control_plane.databases.migration import rows_that_stand
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json, plain
from control_plane.domain.home import Home
from control_plane.domain.run_record import Run
from control_plane.errors import Failed, NotFound, Refused
from control_plane.handlers.backup_proof import archives_of
from control_plane.handlers.database_places import (
    drop_place,
    engine_of,
    give_up_place,
    kept_until,
    make_place,
    noted_database,
    take_place,
)
from control_plane.handlers.database_rows import move_database
from control_plane.handlers.database_subject import database_subject, serving_of
from control_plane.handlers.databases import told_database
from control_plane.handlers.handler import (
    Observed,
    Ports,
    Step,
    Subject,
    TenantLifecycle,
    View,
    Work,
)
from control_plane.handlers.stack_steps import collections_of
from control_plane.handlers.tenant_moves import database_of, inside_of, noted_now

OPERATION: Final = "clone"


def command_of(work: Work) -> CloneDatabase:
    """The run's command."""
    assert isinstance(work.command, CloneDatabase)
    return work.command


def masked_groups(command: CloneDatabase, ports: Ports) -> frozenset[str]:
    """The groups to mask: those that are named, or all but the open one.

    Refused (`group_unknown`).
    """
    known = groups_of(tuple(ports.catalog.collections.values()))
    if command.mask is None:
        return known - {OPEN_GROUP}
    if not known >= set(command.mask):
        raise Refused("There is no such field group.", code="group_unknown", rule="collections")
    return frozenset(command.mask)


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the database in hand, and a place beside it; its calls go on."""
    inside = inside_of(connection)
    source = serving_of(work, inside)
    move_database(work, inside, source, "clone")
    return {"source": source.id, "target": take_place(work, inside, "clone").id}


def let_go(work: Work, connection: Connection | None) -> None:
    """Leave the database as it was, and none beside it."""
    inside = inside_of(connection)
    give_up_place(work, inside, noted_database(work, "target", inside).id)
    move_database(work, inside, noted_database(work, "source", inside), "fail")


def load(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Load what one snapshot sees, masked on its way; whole in one transaction, and once."""
    tenant, collections = work.run.tenant, collections_of(work)
    key = hmac.digest(work.ports.hmac_key, b"clone\n" + work.run.id.encode(), "sha256")
    masking = Masking(collections, masked_groups(command_of(work), work.ports), key)
    (source, model), (target, home) = database_of(work), _target(work)
    target.fence(tenant, home.isolation, work.epoch, open=True)
    with (
        archives_of(work).aside(tenant) as aside,
        # It has no name: nothing of it is left, whatever ends this process.
        tempfile.TemporaryFile(dir=aside.parent) as lines,
        rows_that_stand(),
        target.transaction(tenant, home.isolation) as writing,
    ):
        require_fence(writing, tenant, work.epoch)
        stands = archive.summary(writing, collections, tenant)
        if not any(one.rows for one in stands.tables.values()):
            with source.reading(tenant, model) as reading:
                # What of the team's own tables is to be masked, nobody has said: none of it is shown.
                archive.export_tenant(reading, collections, tenant, lines, team=False)
            lines.seek(0)
            stands = archive.load_tenant(writing, collections, tenant, lines, masking)
    return {"contents": plain(stands)}


def verify(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that the copy stands, holds what was loaded, and is closed."""
    tenant, (engine, home) = work.run.tenant, _target(work)
    engine.fence(tenant, home.isolation, work.epoch, open=False)
    try:
        with engine.reading(tenant, home.isolation) as source:
            stands = plain(archive.summary(source, collections_of(work), tenant))
    except NotFound:
        raise Failed("The copy is gone.", code="database_not_ready") from None
    if stands != noted_now(work, "load")["contents"]:
        raise Failed("The copy is not what was loaded.", code="restore_differs")
    return {"open": False}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """The copy is there until its time is over, and the database is as before."""
    inside = inside_of(connection)
    until = kept_until(work, command_of(work).keep_days)
    target = noted_database(work, "target", inside)
    move_database(work, inside, target, "succeed", kept_until=until)
    move_database(work, inside, noted_database(work, "source", inside), "succeed")
    return {"database": target.id, "kept_until": until}


class CloneDatabaseHandler(TenantLifecycle):
    """Copies the database that serves a tenant, with fields of some groups masked."""

    kind = "database_clone"
    command_type: type[Command] = CloneDatabase
    steps: tuple[Step, ...] = (
        Step("begin", do=begin, undo=let_go),
        Step("place", do=make_place, undo=drop_place, outside=True),
        # Without a probe: where it stands already, doing it again tells what it holds.
        Step("load", do=load, outside=True),
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
        """The database that serves the tenant, and what a copy of it would show."""
        assert isinstance(command, CloneDatabase)
        declared = tuple(view.ports.catalog.collections.values())
        # What is unknown is told once it is decided that the caller may ask at all.
        masked = groups_of(declared) if command.mask is None else frozenset(command.mask)
        proposed: dict[str, object] = {
            "clear_groups": in_clear(declared, masked),
            "clear_handles": shows_handled(declared, masked),
        }
        return database_subject(command.tenant, OPERATION, view, run, approval, step, proposed)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """What is to be masked is declared."""
        assert isinstance(command, CloneDatabase)
        masked_groups(command, ports)

    def observe(self, work: Work) -> Observed:
        """What would be masked, and what shown, and how many rows; none is read but to be counted."""
        command, collections = command_of(work), collections_of(work)
        masked = masked_groups(command, work.ports)
        engine, model = database_of(work)
        with engine.reading(command.tenant, model) as source:
            found = counted(source, collections, command.tenant)
        parts: dict[str, Json] = {
            "clone": {
                "masked": sorted(masked),
                "in_clear": [*in_clear(collections, masked)],
                "records": {**found},
                "kept_until": kept_until(work, command.keep_days),
            }
        }
        return Observed(parts=parts)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """The row that comes to be."""
        assert isinstance(command, CloneDatabase)
        return {"rows": {"clone_of": command.tenant}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """The copy."""
        return told_database(view, run, "finish")


def _target(work: Work) -> tuple[DatabaseEngine, Home]:
    return engine_of(work, noted_database(work, "target"))
