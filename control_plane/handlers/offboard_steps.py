"""The steps of offboarding: shut, back up, prove the backup, remove. Not their order of execution: the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from sqlalchemy import Connection, select

from control_plane.commands import OffboardTenant
from control_plane.data import archive
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, canonical, instant, plain
from control_plane.domain.house import is_house
from control_plane.errors import Failed, Refused
from control_plane.handlers import backups, stack_steps, suspend_steps
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.house_cause import still_unsettled
from control_plane.handlers.stack_records import record_gone
from control_plane.handlers.subscription_moves import end_subscription
from control_plane.handlers.tenant_moves import (
    inside_of,
    model_of,
    move_tenant,
    noted,
    noted_now,
    set_data_epoch,
    tenant_of,
)
from control_plane.ports import Archives
from control_plane.provisioning.port import ObservedPlan
from control_plane.store import tables

PROVING = "verify_backup"
# From here on nothing brings back what a step has done.
DESTROYING = ("drop_database", "destroy")
# Tenants that nobody could write for since their data was last backed up, or that never had any.
_SHUT_BEFORE = frozenset({"provision_failed", "deprovision_failed"})


def archives_of(work: Work) -> Archives:
    """The archives; only the worker has them."""
    if work.ports.archives is None:
        raise Failed("Only the worker keeps archives.", code="not_the_worker")
    return work.ports.archives


def retention(work: Work) -> tuple[int, str]:
    """How long the plan in hand keeps the tenant restorable: days, and the instant they end."""
    parts = _mapping((work.run.plan or {}).get("parts"))
    kept = _mapping(parts.get("retention"))
    return int(str(kept["days"])), str(kept["restorable_until"])


# Shutting ------------------------------------------------------------------------------------


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the tenant out of use; what it was is noted for the way back."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    move_tenant(inside, tenant, "deprovision", access_mode="none")
    set_data_epoch(inside, tenant.id, 0)
    return {"from": tenant.state}


def stand_down(work: Work, connection: Connection | None) -> None:
    """Leave the tenant shut: suspended, or with something beyond undoing, failed."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    came_from = noted(work, inside, "begin").get("from")
    if _destroying_begun(work, inside) or came_from in _SHUT_BEFORE:
        move_tenant(inside, tenant, "fail")
        return
    # What the house has shut it opens again by itself: it leaves no reason that a human must clear.
    by_house, reasons = is_house(work.run.principal), tenant.suspend_reasons
    if not by_house or not reasons:
        reasons |= {"billing" if by_house else "operator"}
    move_tenant(inside, tenant, "cancel", suspend_reasons=sorted(reasons))


def _destroying_begun(work: Work, connection: Connection) -> bool:
    table = tables.run_step
    where = (table.c.run_id == work.run.id) & table.c.name.in_(DESTROYING)
    return connection.execute(select(table.c.name).where(where)).first() is not None


# The backup ----------------------------------------------------------------------------------


def back_up(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Archive the tenant's data, or answer for the archive that an earlier run has proven."""
    with work.ports.store.read() as reading:
        mine = backups.backup_of_run(reading, work.run.id)
        earlier = backups.proven(reading, work.run.tenant)
    came_from = noted_now(work, "begin").get("from")
    if mine is None and came_from == "deprovision_failed" and earlier is not None:
        # Part of the data may be gone since: only the archive from before is whole.
        mine = earlier
        backups.take_over(work, earlier, retention(work)[1])
    if mine is None:
        mine = _archived(work, may_be_absent=came_from in _SHUT_BEFORE)
        backups.keep(work, mine)
    return {"backup_id": mine.id, "digest": mine.digest}


def _archived(work: Work, *, may_be_absent: bool) -> Backup:
    tenant, model = work.run.tenant, model_of(work)
    databases, collections = work.ports.databases, stack_steps.collections_of(work)
    if databases.exists(tenant, model):
        source = databases.reading(tenant, model)
    elif may_be_absent:
        # Onboarding never came so far: an empty database is what it would have been.
        source = databases.scratch(tenant, model, collections)
    else:
        raise Failed("The tenant's database is gone.", code="database_missing")
    made: list[archive.Summary] = []
    backup_id = backups.own_id(work.run.id)
    with source as rows_of:
        kept = archives_of(work).put(
            tenant,
            backup_id,
            lambda target: made.append(archive.export_tenant(rows_of, collections, tenant, target)),
        )
    return Backup.model_validate(
        {
            "id": backup_id,
            "tenant": tenant,
            "run_id": work.run.id,
            "isolation": model,
            "made_at": instant(work.ports.clock.now()),
            "digest": kept.digest,
            "bytes": kept.size_bytes,
            "contents": plain(made[-1]),
            "schema_digest": made[-1].schema_digest,
            "keep_until": retention(work)[1],
        }
    )


def probe_backup(work: Work) -> Probe:
    """Whether this run answers for a backup: its row is written when the archive is whole."""
    with work.ports.store.read() as connection:
        found = backups.backup_of_run(connection, work.run.id)
    return "absent" if found is None else "present"


def verify_backup(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Restore the archive on trial; it must come to what its manifest says, and to what stands."""
    tenant, model = work.run.tenant, model_of(work)
    databases, backup = work.ports.databases, backup_in_hand(work)
    own = backup.id == backups.own_id(work.run.id)
    # One that was taken over from an earlier run may be of an earlier catalog.
    collections = stack_steps.collections_of(work) if own else backups.declared(work, backup)
    with (
        archives_of(work).open(tenant, backup.id, backup.digest) as source,
        databases.scratch(tenant, model, collections) as trial,
    ):
        archive.load_tenant(trial, collections, tenant, source)
        restored = plain(archive.summary(trial, collections, tenant))
    if own and databases.exists(tenant, model):
        with databases.reading(tenant, model) as standing:
            stands = plain(archive.summary(standing, collections, tenant))
    else:
        stands = restored
    if not restored == stands == backup.contents:
        raise Failed("The backup does not restore to what stands.", code="backup_differs")
    backups.mark_verified(work, backup)
    return {"backup_id": backup.id}


def backup_in_hand(work: Work) -> Backup:
    """The backup that this run answers for; Failed (``backup_missing``)."""
    with work.ports.store.read() as connection:
        found = backups.backup_of_run(connection, work.run.id)
    if found is None:
        raise Failed("There is no backup.", code="backup_missing")
    return found


# Removing ------------------------------------------------------------------------------------


def drop_database(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Remove the tenant's data; what was removed already is fine."""
    tenant, model = work.run.tenant, model_of(work)
    work.ports.databases.drop(tenant, model, work.epoch)
    if work.ports.databases.exists(tenant, model):
        raise Failed("The database is still there.", code="database_remains", retryable=True)
    return {"dropped": True}


def probe_dropped(work: Work) -> Probe:
    """Whether the tenant's data is gone."""
    stands = work.ports.databases.exists(work.run.tenant, model_of(work))
    return "absent" if stands else "present"


def destroy(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Apply the saved plan that was approved; what is left of it after a kill, planned anew."""
    provisioner, request = stack_steps.provisioner_of(work), stack_steps.stack_request(work)
    beat = stack_steps.beating(work)
    if provisioner.settle(request, should_stop=beat) != "absent":
        try:
            saved = stack_steps.saved_plan(work)
            provisioner.apply(request, saved, should_stop=beat, tell=work.tell)
        except Refused as error:
            if error.code not in ("stale_plan", "artifact_expired"):
                raise
            rest = provisioner.observe(request, destroy=True, should_stop=beat)
            _assert_approved(work, rest)
            provisioner.apply(request, rest.artifact, should_stop=beat, tell=work.tell)
        if provisioner.settle(request, should_stop=beat) != "absent":
            raise Failed("Some resources are still there.", code="stack_remains", retryable=True)
    return {"destroyed": True}


def _assert_approved(work: Work, rest: ObservedPlan) -> None:
    # What was approved covers any part of itself: every change left must be one of its changes.
    parts = _mapping((work.run.plan or {}).get("parts"))
    approved = _mapping(parts.get("infrastructure"))
    if rest.digest == approved.get("digest"):
        return
    known = {canonical(one) for one in _changes(_mapping(approved.get("changes")))}
    left = [canonical(plain(one)) for one in _changes(rest.projection)]
    if not left or not set(left) <= known:
        raise Refused(
            "What is left is not what was approved.", code="stale_plan", rule="saved_plan"
        )


def _changes(projection: Mapping[str, object]) -> Sequence[object]:
    found = projection.get("resource_changes")
    return cast("Sequence[object]", found) if isinstance(found, list | tuple) else ()


def probe_destroyed(work: Work) -> Probe:
    """Whether the stack is gone."""
    seen = stack_steps.provisioner_of(work).settle(
        stack_steps.stack_request(work), should_stop=stack_steps.beating(work)
    )
    return "present" if seen == "absent" else "absent"


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Say that the tenant is gone, and until when it can be restored."""
    inside = inside_of(connection)
    assert isinstance(work.command, OffboardTenant)
    if work.command.proposed_cancel:
        end_subscription(work, inside)
    until = retention(work)[1]
    record_gone(work, inside, stack_steps.request_of(work, tenant_of(work, inside)))
    state = move_tenant(inside, tenant_of(work, inside), "succeed", restorable_until=until)
    return {"state": state, "restorable_until": until}


def _mapping(value: object) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}


STEPS: tuple[Step, ...] = (
    Step("begin", do=begin, undo=stand_down),
    Step("close", do=suspend_steps.close, probe=suspend_steps.probe_closed, outside=True),
    Step("backup", do=back_up, probe=probe_backup, outside=True),
    Step(PROVING, do=verify_backup, outside=True),
    Step(
        "drop_database",
        do=drop_database,
        probe=probe_dropped,
        outside=True,
        irreversible=True,
        still=still_unsettled,
    ),
    Step("destroy", do=destroy, probe=probe_destroyed, outside=True, irreversible=True),
    Step("finish", do=finish, irreversible=True),
)
