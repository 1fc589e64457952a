"""A tenant that is behind a campaign, and the tool that brings it up: begun, asked for, looked at. Holds no test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Integer, String, column, delete, insert, table

from control_plane.domain.campaign import Campaign
from control_plane.domain.database import Database
from control_plane.domain.home import Home
from control_plane.domain.run_record import Run
from control_plane.fleet import campaigns
from control_plane.handlers.fleet_plan import plan_digest
from control_plane.store import rows
from control_plane.store.database_tables import database, fleet_migration
from tests.support.approval_world import TENANT
from tests.support.fleet_bench import FleetBench
from tests.support.fleet_files import first, header

_CAMPAIGN: Final = "c" * 32
_FAILING: Final = header() + "ALTER TABLE note ADD COLUMN n int;\nUPDATE note SET rank = NULL;\n"
WRONG: Final[Mapping[str, bytes]] = {**first(2), "0003_wrong.sql": _FAILING.encode()}
"""The third fails where a tenant has a row."""


def begun(fleet: FleetBench, last: int) -> None:
    """A campaign that was begun, and halted before it had come to anybody."""
    migrations = fleet.world.ports.catalog.migrations[:last]
    values = {
        "id": _CAMPAIGN,
        "first": 1,
        "last": last,
        "state": "halted",
        "digest": plan_digest(migrations),
        "catalog": fleet.world.ports.catalog.digest,
        "run_id": "d" * 32,
        "failures_max": 0,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "changed_at": "2026-01-01T00:00:00.000000Z",
    }
    with fleet.world.store.write() as connection:
        campaigns.put_campaign(connection, Campaign.model_validate(values))


def ask(fleet: FleetBench, tenant: str = TENANT, **more: Any) -> dict[str, Any]:
    """The answer to one call."""
    return fleet.ask("database_migrate", tenant=tenant, **more)


def planned(fleet: FleetBench, tenant: str = TENANT, **more: Any) -> Run:
    """A run that waits for its approval."""
    asked = ask(fleet, tenant, **more)
    assert asked["outcome"] == "running", asked
    run = fleet.bench.work(asked["run_id"])
    assert run.state == "awaiting_approval", run
    return run


def approved(fleet: FleetBench, tenant: str = TENANT, **more: Any) -> str:
    """The same, approved and not taken up."""
    run = planned(fleet, tenant, **more)
    fleet.world.answer(run)
    return run.id


def carried(fleet: FleetBench, tenant: str = TENANT, *fail: str, **more: Any) -> Run:
    """The same, carried out as far as it goes."""
    return fleet.bench.work(approved(fleet, tenant, **more), *fail)


def state_of(fleet: FleetBench, tenant: str = TENANT) -> str:
    """The state of the row of the database that serves the tenant."""
    mine = (database.c.tenant == tenant) & (database.c.purpose == "serving")
    with fleet.world.store.read() as connection:
        (found,) = rows.every(connection, database, Database, mine)
    return found.state


def settled(fleet: FleetBench, tenant: str = TENANT) -> dict[int, tuple[str, int]]:
    """What each receipt of the tenant says, and after how many attempts."""
    with fleet.world.store.read() as connection:
        found = campaigns.receipts_of(connection, tenant)
    return {one.number: (one.state, one.attempts) for one in found}


def alter(fleet: FleetBench, **values: Any) -> None:
    """Change the campaign, its digest with it."""
    last = values.get("last", 3)
    digest = plan_digest(fleet.world.ports.catalog.migrations[:last])
    mine = fleet_migration.c.id == _CAMPAIGN
    with fleet.world.store.write() as connection:
        rows.change(connection, fleet_migration, mine, digest=digest, **values)


def write_note(fleet: FleetBench, tenant: str, model: Any, *, remove: bool = False) -> None:
    """One row in the team's table, or none."""
    note = table("note", column("tenant_id", String), column("id", String), column("rank", Integer))
    engine = fleet.world.ports.databases.at(Home(model))
    with engine.transaction(tenant, model) as connection:
        if remove:
            connection.execute(delete(note).where(note.c.tenant_id == tenant))
        else:
            connection.execute(insert(note).values(tenant_id=tenant, id="1", rank=1))
