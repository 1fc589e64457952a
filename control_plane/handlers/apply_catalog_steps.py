"""The steps of putting another catalog in force: expand, ready, switch, contract. Not the engine's order.

Until the switch all of it can be taken back. Behind it there is only forward: what then fails is
finished by applying the same catalog again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from sqlalchemy import Connection, Integer, cast, func, null, select

from control_plane.commands import ApplyCatalog
from control_plane.data.collection import Collection
from control_plane.databases.migration import MigrationPhase
from control_plane.domain.canonical import Json, instant
from control_plane.domain.home import Home
from control_plane.domain.plans import PlanCatalog
from control_plane.domain.run_record import Run
from control_plane.engine.runbook import Fenced
from control_plane.errors import Failed, NotFound, PaybillError, Refused
from control_plane.facts.load import run_row
from control_plane.handlers.catalog_in_force import (
    WorkerLeaves,
    applied_digest,
    leave_before,
    others_at_work,
    put_in_force,
)
from control_plane.handlers.database_rows import homes
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.ports import Catalogs
from control_plane.store import tables

# Whoever has begun goes to the end first: an apply of Terraform may take its time.
_OTHERS_S_MAX: Final = 1_800.0
# Longer than it takes until the worker settles an intent whose face is gone.
_INTENTS_S_MAX: Final = 180.0
_PAUSE_S: Final = 0.1
# Of one database, where its writers or its server are in the way.
_BUSY_S_MAX: Final = 30.0
# `fenced`: another run has taken the tenant a step on since its epoch was read.
_PASSING: Final = frozenset({"fenced", "database_busy", "database_unavailable", "commit_unknown"})


def catalogs_of(work: Work) -> Catalogs:
    """The kept catalogs; only a worker has them."""
    assert work.ports.catalogs is not None, "a run is the worker's"
    return work.ports.catalogs


def planned_digests(run: Run) -> tuple[str, str]:
    """The catalog that was in force when the run was planned, and the one that it puts there."""
    parts = (run.plan or {}).get("parts")
    told = parts.get("catalog") if isinstance(parts, Mapping) else None
    assert isinstance(told, Mapping), "a run is planned before it is carried out"
    before, after = told["before"], told["after"]
    assert isinstance(before, Mapping)
    assert isinstance(after, Mapping)
    return str(before["catalog"]), str(after["catalog"])


# Before the switch ---------------------------------------------------------------------------


def expand(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make every database serve both catalogs, once no other run is at work, and see that it fits."""
    if not _switched(work):
        _await(work, _OTHERS_S_MAX, "runs_under_way", _others)
    catalogs = catalogs_of(work)
    before, after = (catalogs.plans(digest) for digest in planned_digests(work.run))
    with work.ports.store.read() as inside:
        # Looked at again, now that nobody else subscribes to anything.
        require_plans(inside, before, after)
    old, new = _declared(work)
    count, looked_at = 0, set[Home]()
    for tenant, home in _tenants(work):
        if work.should_stop():
            raise Failed("The run was asked to stop.", code="canceled")
        count += _migrate(work, tenant, home, old, new, "expand")
        if home not in looked_at:
            engine = work.ports.databases.at(home)
            _patiently(work, partial(engine.require_fit, tenant, home.isolation, old, new))
        if home.isolation == "pooled":
            # They share their tables, and all their rows have been looked at.
            looked_at.add(home)
    return {"tenants": count}


def retract(work: Work, connection: Connection | None) -> None:
    """Lead every database back to the catalog in force; none where the new one is that."""
    if _switched(work):
        return
    old, new = _declared(work)
    for tenant, home in _tenants(work):
        try:
            _migrate(work, tenant, home, old, new, "retract")
        except Refused as error:
            # On its way to yet another one: this run has never led it anywhere.
            if error.code != "schema_differs":
                raise


def ready(work: Work, connection: Connection | None) -> dict[str, Json]:
    """See that a second policy engine answers by it."""
    after = planned_digests(work.run)[1]
    catalogs_of(work).ready(after)
    return {"catalog": after}


def forget(work: Work, connection: Connection | None) -> None:
    """Let the second engine go."""
    catalogs_of(work).forget(planned_digests(work.run)[1])


# The switch ----------------------------------------------------------------------------------


def switch(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Say that it is in force, in one transaction that no call commits beside, and go over to it."""
    before, after = planned_digests(work.run)
    catalogs = catalogs_of(work)
    catalogs.ready(after)
    with work.ports.store.write() as whole:
        _require_ours(work, whole)
        applied = applied_digest(whole)
        if applied == before:
            now = instant(work.ports.clock.now())
            put_in_force(whole, work.ports.recorder, after, before, now)
        elif applied != after:
            raise Refused("Yet another catalog is in force.", code="digest_changed", fact="catalog")
    catalogs.go_over(after)
    return {"catalog": after}


def probe_switched(work: Work) -> Probe:
    """Whether the store says that it is in force."""
    return "present" if _switched(work) else "absent"


# Behind it -----------------------------------------------------------------------------------


def contract(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make every database serve it alone, once no call can be under way that was decided before.

    One whose rows do not fit does not hold up the others. Refused (`rows_do_not_fit`), with the
    first one's tenant.
    """
    after = planned_digests(work.run)[1]
    catalogs_of(work).await_calls(after, work.should_stop)
    _await(work, _INTENTS_S_MAX, "calls_under_way", _intents_of_others)
    old, new = _declared(work)
    count, refusals = 0, list[tuple[str, Refused]]()
    for tenant, home in _tenants(work):
        try:
            count += _migrate(work, tenant, home, old, new, "contract")
        except Refused as error:
            refusals.append((tenant, error))
    if refusals:
        tenant, first = refusals[0]
        more = f" And {len(refusals) - 1} more." if len(refusals) > 1 else ""
        raise Refused(f"{tenant}: {first}{more}", code=first.code, fact=first.fact)
    with work.ports.store.write() as whole:
        _require_ours(work, whole)
        leave_before(whole, work.ports.recorder, instant(work.ports.clock.now()))
    return {"tenants": count}


# Means ---------------------------------------------------------------------------------------


def require_plans(connection: Connection, before: PlanCatalog, after: PlanCatalog) -> None:
    """Whoever has subscribed to a version keeps it as it is, and who is gone may come back to its plan.

    Refused (`plan_edited`, `plan_in_use`).
    """
    for offer in after.plans:
        if before.edits(offer):
            raise Refused(
                f"It says otherwise of {offer.name} {offer.version}: add a version instead.",
                code="plan_edited",
                fact="plans",
            )
    table, tenant = tables.subscription, tables.tenant
    versions = select(table.c.plan, table.c.plan_version).distinct()
    resting = (
        select(tenant.c.plan, cast(null(), Integer))
        .where(tenant.c.state == "deprovisioned")
        .distinct()
    )
    for name, version in connection.execute(versions.union(resting)):
        try:
            after.offer(name, version)
        except NotFound:
            told = name if version is None else f"{name} {version}"
            raise Refused(
                f"Tenants have the plan {told}, which it does not offer.",
                code="plan_in_use",
                fact="plans",
            ) from None


def _switched(work: Work) -> bool:
    with work.ports.store.read() as connection:
        return applied_digest(connection) == planned_digests(work.run)[1]


def _declared(work: Work) -> tuple[Sequence[Collection], Sequence[Collection]]:
    before, after = planned_digests(work.run)
    return catalogs_of(work).collections(before), catalogs_of(work).collections(after)


def _tenants(work: Work) -> Iterator[tuple[str, Home]]:
    with work.ports.store.read() as connection:
        found = homes(connection)
    for tenant, home in found:
        if work.ports.databases.at(home).exists(tenant, home.isolation):
            yield tenant, home


def _migrate(
    work: Work,
    tenant: str,
    home: Home,
    old: Sequence[Collection],
    new: Sequence[Collection],
    phase: MigrationPhase,
) -> int:
    """1, or 0 for a tenant that is gone by now."""

    def act() -> None:
        epoch = _epoch(work, tenant)
        engine = work.ports.databases.at(home)
        engine.migrate(tenant, home.isolation, old, new, phase, epoch)

    return _patiently(work, act)


def _patiently(work: Work, act: Callable[[], None]) -> int:
    """1 when it is done, 0 where the tenant is gone by now; what passes by itself is waited out."""
    end_s = time.monotonic() + _BUSY_S_MAX
    while True:
        try:
            act()
        except NotFound:
            return 0
        except PaybillError as error:
            if isinstance(error, Fenced) or error.code not in _PASSING or time.monotonic() >= end_s:
                raise
        else:
            return 1
        work.should_stop()
        time.sleep(_PAUSE_S)


def _epoch(work: Work, tenant: str) -> int:
    """The epoch that the tenant's database stands at: where it opened, else its last run's.

    Fenced where another worker has taken the run.
    """
    table = tables.fence
    with work.ports.store.read() as connection:
        run = run_row(connection, work.run.id)
        if run is None or run.attempts != work.epoch:
            raise Fenced
        held = connection.execute(
            select(table.c.data_epoch, table.c.epoch).where(table.c.tenant == tenant)
        ).one()
    return int(held.data_epoch or held.epoch)


def _require_ours(work: Work, connection: Connection) -> None:
    run = run_row(connection, work.run.id)
    if run is None or (run.attempts, run.state) != (work.epoch, "applying"):
        raise Refused("Another worker has taken this run.", code="fenced")


def _others(work: Work, connection: Connection) -> int:
    return others_at_work(connection, work.run.id)


def _intents_of_others(work: Work, connection: Connection) -> int:
    """How many calls have begun an effect under another catalog, and not said how it ended."""
    call, command = tables.call, work.command
    assert isinstance(command, ApplyCatalog)
    begun = (
        call.c.run_id.is_(None) & call.c.settled.is_(False) & (call.c.catalog != command.catalog)
    )
    return int(connection.execute(select(func.count()).where(begun)).scalar_one())


def _await(
    work: Work, deadline_s: float, code: str, counted: Callable[[Work, Connection], int]
) -> None:
    end_s = time.monotonic() + deadline_s
    while True:
        with work.ports.store.read() as connection:
            left = counted(work, connection)
        if not left:
            return
        if catalogs_of(work).leaving():
            raise WorkerLeaves
        if work.should_stop():
            raise Failed("The run was asked to stop.", code="canceled")
        if time.monotonic() >= end_s:
            raise Failed(f"{left} did not end in time.", code=code, retryable=True)
        time.sleep(_PAUSE_S)


STEPS: tuple[Step, ...] = (
    Step("expand", do=expand, undo=retract, outside=True),
    Step("ready", do=ready, undo=forget, outside=True),
    Step("switch", do=switch, probe=probe_switched, outside=True, irreversible=True),
    Step("contract", do=contract, outside=True, irreversible=True),
)
