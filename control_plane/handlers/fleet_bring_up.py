"""How one tenant's database gets the migrations that are in force. Not how all tenants get a new one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from control_plane.databases.migrated import migrated
from control_plane.domain.campaign import FleetReceipt
from control_plane.domain.canonical import Json
from control_plane.domain.home import Home
from control_plane.engine.runbook import Fenced
from control_plane.errors import Failed, NotFound
from control_plane.fleet import campaigns
from control_plane.handlers.handler import Ports, Work
from control_plane.handlers.tenant_moves import tenant_now
from control_plane.store import tables

if TYPE_CHECKING:
    from control_plane.fleet.bringing import Bringing, Brought

_PAUSE_S: Final = 0.2
_TRIES_MAX: Final = 50
_PASSING: Final = frozenset({"database_busy", "database_unavailable", "commit_unknown"})
_FENCED: Final = "fenced"


def bring_up(
    work: Work, home: Home | None = None, *, at_least: int = 0, epoch: int | None = None
) -> int:
    """Bring the run's tenant to the last migration in force, and write its receipts; which one that is.

    In force is what a campaign has begun: who comes while it is under way is not behind it. A
    repetition changes nothing. `home` is the database that is made, else the one that serves; it
    comes to `at_least` that migration, and stands at `epoch` then, else at the run's. Raises what
    applying raises.
    """
    with work.ports.store.read() as connection:
        last, found = campaigns.in_force(connection), campaigns.newest(connection)
    last = max(last, at_least)
    if not last or found is None:
        return 0
    made = home or tenant_now(work).home
    held = work.epoch if epoch is None else epoch
    brought = _brought(work, _bringing(work, found.id, 1, last), made, held)
    if brought.error is not None:
        raise brought.error
    with work.ports.store.write(work.run.tenant) as inside:
        campaigns.settle(inside, brought.receipts)
    return last


def bring_on(work: Work, first: int, last: int) -> None:
    """Bring the database that serves the run's tenant on to `last`, with receipts from `first` on.

    Both are in force. What fails has its receipt too, and is told by file and line; what was had
    before it stays. Open, the database stays at the epoch at which it is: who writes there goes on.
    Raises Fenced, Failed (`database_missing`), and what applying raises.
    """
    from control_plane.fleet.apply import StatementFailed

    tenant, home = work.run.tenant, tenant_now(work).home
    with work.ports.store.read() as connection:
        epoch, found = _stands_at(work, connection), campaigns.newest(connection)
    assert found is not None, "what is in force, a campaign has begun"
    try:
        brought = _brought(work, _bringing(work, found.id, first, last), home, epoch)
    except NotFound:
        raise Failed("The tenant's database is gone.", code="database_missing") from None
    error = brought.error
    # What passes, or another run's being there, says nothing of the migration.
    passing = error is not None and error.code in _PASSING | {_FENCED}
    receipts = brought.receipts[:-1] if passing else brought.receipts
    with work.ports.store.write(tenant) as inside:
        _stands_at(work, inside)
        settle_receipts(inside, work.ports, tenant, receipts)
    if isinstance(error, StatementFailed):
        raise Failed(f"{error.place}: {error}", code=error.code) from error
    if error is not None:
        raise error


def settle_receipts(
    connection: Connection, ports: Ports, tenant: str, receipts: Sequence[FleetReceipt]
) -> None:
    """Write what has come of migrations in one tenant's database, with a leaf for each."""
    campaigns.settle(connection, receipts)
    for one in receipts:
        told: dict[str, Json] = one.model_dump(mode="json", exclude={"changed_at"})
        ports.recorder.record(connection, f"fleet.tenant_{one.state}", tenant, told)


def bring_up_alike(work: Work, serving: Home, made: Home, data_epoch: int) -> None:
    """Bring the database that serves at `data_epoch`, and the one that is made, to the same migration.

    That is the last one in force, or what either has had before a campaign was aborted.
    """
    places = ((serving, data_epoch or work.epoch), (made, work.epoch))
    last = max(_had(work, home) for home, _ in places)
    for home, epoch in places:
        bring_up(work, home, at_least=last, epoch=epoch)


def _bringing(work: Work, campaign: str, first: int, last: int) -> Bringing:
    from control_plane.fleet.bringing import Bringing
    from control_plane.fleet.checker import texts

    catalog = work.ports.catalog
    wanted = texts(catalog.migrations[:last], set(catalog.collections))
    collections = tuple(catalog.collections.values())
    return Bringing(campaign, wanted, collections, work.ports.clock.now(), first)


def _brought(work: Work, bringing: Bringing, home: Home, epoch: int) -> Brought:
    engine, tenant = work.ports.databases.at(home), work.run.tenant
    brought = bringing.bring(engine, tenant, home, epoch)
    for _ in range(_TRIES_MAX):
        # Where tenants share tables, a campaign may have them in hand.
        if brought.error is None or brought.error.code not in _PASSING:
            break
        time.sleep(_PAUSE_S)
        brought = bringing.bring(engine, tenant, home, epoch)
    return brought


def _stands_at(work: Work, connection: Connection) -> int:
    """The epoch of the database that serves: where it stands open, else the run's own."""
    table = tables.fence
    wanted = select(table.c.epoch, table.c.run_id, table.c.data_epoch)
    held = connection.execute(wanted.where(table.c.tenant == work.run.tenant)).one()
    if (held.epoch, held.run_id) != (work.epoch, work.run.id):
        raise Fenced
    return int(held.data_epoch or work.epoch)


def _had(work: Work, home: Home) -> int:
    engine = work.ports.databases.at(home)
    with engine.reading(work.run.tenant, home.isolation) as connection:
        return max((one.number for one in migrated(connection).values()), default=0)
