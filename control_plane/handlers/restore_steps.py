"""The steps of restoring: stack and database anew, the backup carried over, loaded and held against its manifest. Not the engine's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sqlalchemy import Connection

from control_plane.data import archive
from control_plane.data.applied import require_fence
from control_plane.data.carry_over import CarryOver
from control_plane.databases.migration import rows_that_stand
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, plain
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, Refused
from control_plane.handlers import backups, handovers, stack_steps
from control_plane.handlers.backup_proof import contents_of, lines_of, team_of
from control_plane.handlers.database_rows import begin_database, settle_database
from control_plane.handlers.fleet_bring_up import bring_up
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.stack_records import record_verified
from control_plane.handlers.subscription_moves import agreed_before, subscribe
from control_plane.handlers.team_restore import lines_for, team_there
from control_plane.handlers.tenant_moves import (
    data_epoch_of,
    database_of,
    inside_of,
    move_tenant,
    set_data_epoch,
    tenant_of,
)


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the tenant out of its rest."""
    inside = inside_of(connection)
    state = move_tenant(inside, tenant_of(work, inside), "restore")
    begin_database(work, inside)
    return {"state": state}


def rest(work: Work, connection: Connection | None) -> None:
    """Leave the tenant as it was: gone, and restorable as long as before."""
    inside = inside_of(connection)
    settle_database(work, inside, "fail")
    move_tenant(inside, tenant_of(work, inside), "fail")


def planned_backup(work: Work) -> Backup:
    """The backup that the plan names; Refused where it is no longer that one."""
    parts = (work.run.plan or {}).get("parts")
    planned = parts.get("backup") if isinstance(parts, Mapping) else None
    with work.ports.store.read() as connection:
        found = backups.proven(connection, work.run.tenant)
    named: Mapping[str, Json] = planned if isinstance(planned, Mapping) else {}
    if found is None or (found.id, found.digest) != (named.get("id"), named.get("digest")):
        raise Refused("The backup is no longer the one planned with.", code="backup_missing")
    return found


def foreseen(work: Work, backup: Backup) -> tuple[CarryOver | None, dict[str, Json]]:
    """The way of the backup's rows to the present declarations, and what they must come to there.

    None where the declarations are those of its day: then it is the manifest. Else the archive is
    read, and held against the manifest, which it must come to under the declarations of its day.
    Raises Refused where there is no way, or not for all rows: `evolution_refused`,
    `rows_do_not_fit`, `catalog_absent`, `archive_differs`.
    """
    before, after = backups.declared(work, backup), stack_steps.collections_of(work)
    carry = CarryOver(before, after)
    if carry.evolution.before == carry.evolution.after:
        return None, contents_of(backup)
    with lines_of(work, backup, before) as source:
        archived, carried = archive.foresee(source, carry, backup.tenant)
    if plain(archived) != contents_of(backup):
        raise Refused("The archive is not what its manifest says.", code="archive_differs")
    return carry, cast("dict[str, Json]", plain(carried))


def load(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Load the archive, whole in one transaction: what stands already is not loaded again."""
    # A place that was made anew has none of the team's tables yet.
    bring_up(work)
    return load_into(work, *database_of(work), planned_backup(work))


def load_into(
    work: Work, engine: DatabaseEngine, model: Isolation, backup: Backup
) -> dict[str, Json]:
    """The same into the tenant's place of that model in an engine, which is open for this run."""
    tenant, collections = work.run.tenant, stack_steps.collections_of(work)
    carry, contents = _foreseen_there(work, engine, model, backup)
    before = backups.declared(work, backup)
    engine.fence(tenant, model, work.epoch, open=True)
    with (
        lines_for(work, backup, before, engine, model) as (source, _),
        rows_that_stand(),
        engine.transaction(tenant, model) as target,
    ):
        require_fence(target, tenant, work.epoch)
        if plain(archive.summary(target, collections, tenant)) == contents:
            return {"loaded": False}
        loaded = archive.load_tenant(target, collections, tenant, source, carry)
        if plain(loaded) != contents:
            raise Refused("The archive is not what its manifest says.", code="archive_differs")
    return {"loaded": True}


def _foreseen_there(
    work: Work, engine: DatabaseEngine, model: Isolation, backup: Backup
) -> tuple[CarryOver | None, dict[str, Json]]:
    """What `foreseen` tells, the team's own tables as that place of the tenant has them."""
    if team_there(engine, model, backup.tenant) == team_of(backup):
        return foreseen(work, backup)
    before = backups.declared(work, backup)
    carry = CarryOver(before, stack_steps.collections_of(work))
    with lines_for(work, backup, before, engine, model) as (source, coming):
        if carry.evolution.before == carry.evolution.after:
            return None, coming
        archived, carried = archive.foresee(source, carry, backup.tenant)
    if plain(archived) != coming:
        raise Refused("The archive is not what its manifest says.", code="archive_differs")
    return carry, cast("dict[str, Json]", plain(carried))


def probe_loaded(work: Work) -> Probe:
    """Whether the tenant's data is what comes of the backup."""
    try:
        return "present" if _as_backed_up(work) else "absent"
    except Failed as error:
        if error.code != "migrations_differ":
            raise
        # Whoever died in it had made the place, and not brought it to its migrations.
        return "absent"


def _as_backed_up(work: Work) -> bool:
    return holds_backup(work, *database_of(work), planned_backup(work))


def holds_backup(work: Work, engine: DatabaseEngine, model: Isolation, backup: Backup) -> bool:
    """Whether the tenant's place of that model in an engine holds just what comes of the backup."""
    tenant, collections = work.run.tenant, stack_steps.collections_of(work)
    try:
        with engine.reading(tenant, model) as source:
            stands = plain(archive.summary(source, collections, tenant))
    except NotFound:
        return False
    return stands == _foreseen_there(work, engine, model, backup)[1]


def verify(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that stack, database and data are as they were; never assume."""
    ready = stack_steps.verify_ready(work, connection)
    if not _as_backed_up(work):
        raise Failed("The data is not as it was backed up.", code="restore_differs")
    return ready


def activate(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Open the tenant on its plan's present offer, protected as a new one is."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    offer = work.ports.catalog.plans.offer(tenant.plan)
    agreed = agreed_before(inside, tenant.id)
    subscribe(work, inside, tenant.id, offer, agreed, first=False)
    state = move_tenant(
        inside,
        tenant,
        "succeed",
        access_mode="full",
        suspend_reasons=[],
        deletion_protection=True,
        restorable_until=None,
    )
    settle_database(work, inside, "succeed")
    set_data_epoch(inside, tenant.id, data_epoch_of(work, inside))
    record_verified(work, inside)
    handovers.tell_first(work, inside)
    return {"state": state}


STEPS: tuple[Step, ...] = (
    Step("begin", do=begin, undo=rest),
    Step(
        "provision",
        do=stack_steps.provision,
        undo=stack_steps.deprovision,
        probe=stack_steps.probe_infrastructure,
        outside=True,
    ),
    Step(
        "database",
        do=stack_steps.create_database,
        undo=stack_steps.drop_database,
        probe=stack_steps.probe_database,
        outside=True,
    ),
    Step("load", do=load, probe=probe_loaded, outside=True),
    Step("verify", do=verify, outside=True),
    Step(
        "hand_over",
        do=handovers.make_first,
        undo=handovers.unmake_first,
        probe=handovers.probe_first,
        outside=True,
    ),
    Step("activate", do=activate, irreversible=True),
)
