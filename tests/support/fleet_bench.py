"""A workspace with tenants in every isolation model and migrations to give them. Holds no test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from control_plane.databases.migrated import migrated
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.campaign import Campaign, FleetReceipt
from control_plane.domain.canonical import digest, instant
from control_plane.domain.home import Home
from control_plane.domain.isolation import ISOLATIONS
from control_plane.domain.run_record import Run
from control_plane.fleet import campaigns
from control_plane.fleet.checker import require_sound
from control_plane.handlers.catalog_in_force import leave_before
from control_plane.store import rows, tables
from control_plane.store.database_tables import fleet_receipt
from tests.support.approval_world import APPROVER, World
from tests.support.freezing import let_in
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench

BOSS = "boss"


@dataclass
class FleetBench:
    """One world; `boss` may change every tenant."""

    bench: Bench

    @property
    def world(self) -> World:
        """The world as it stands."""
        return self.bench.world

    def declare(self, files: Mapping[str, bytes]) -> None:
        """Put a catalog in force that has these migrations, and whose databases all stand."""
        world = self.world
        catalog = world.ports.catalog
        made = require_sound(files, set(catalog.collections))
        told = digest({"files": [[one.name, one.digest] for one in made], "of": catalog.digest})
        changed = replace(catalog, migrations=made, digest=told)  # type: ignore[type-var]
        world = world.with_catalog(changed)
        with world.store.write() as connection:
            leave_before(connection, world.ports.recorder, instant(world.clock.now()))
        self.bench = replace(self.bench, world=world)

    def tenants(self, count: int) -> list[str]:
        """So many active tenants more, a third in each model, with their databases."""
        made: list[str] = []
        databases, catalog = self.world.ports.databases, self.world.ports.catalog
        for number in range(count):
            tenant, model = f"t{number:05}", ISOLATIONS[number % len(ISOLATIONS)]
            self.world.put_tenant(tenant, isolation=model, state="active")
            row = {"tenant": tenant, "epoch": 1, "run_id": None, "data_epoch": 1}
            with self.world.store.write() as connection:
                connection.execute(insert(tables.fence).values(**row))
            collections = tuple(catalog.collections.values())
            databases.at(Home(model)).create(tenant, model, collections, 1)
            made.append(tenant)
        return made

    # calls ------------------------------------------------------------------------------------

    def ask(self, tool: str, who: str = BOSS, **arguments: Any) -> dict[str, Any]:
        """The answer to one call; a changing one gets a key of its own."""
        # No two are asked for at the same instant.
        self.world.clock.advance(timedelta(seconds=1))
        if tool != "fleet_migration_status":
            arguments = {"idempotency_key": fresh_key(), **arguments}
        return self.bench.ask(tool, who, **arguments)

    def planned(self, **arguments: Any) -> Run:
        """A campaign that waits for its approval."""
        asked = self.ask("fleet_migration_start", **arguments)
        assert asked["outcome"] == "running", asked
        run = self.bench.work(asked["run_id"])
        assert run.state == "awaiting_approval", run
        return run

    def approved(self, **arguments: Any) -> Run:
        """The same once it was approved, and not taken up."""
        run = self.planned(**arguments)
        self.world.answer(run)
        return run

    def carried(self, *fail: str, **arguments: Any) -> Run:
        """A campaign approved and carried out as far as it goes."""
        return self.bench.work(self.approved(**arguments).id, *fail)

    # what stands ------------------------------------------------------------------------------

    @property
    def campaign(self) -> Campaign:
        """The newest campaign."""
        with self.world.store.read() as connection:
            found = campaigns.newest(connection)
        assert found is not None
        return found

    def receipts(self) -> dict[tuple[str, str, int], FleetReceipt]:
        """Every receipt."""
        with self.world.store.read() as connection:
            found = rows.every(
                connection, fleet_receipt, FleetReceipt, fleet_receipt.c.number > 0, limit=100_000
            )
        return {(one.tenant, one.place, one.number): one for one in found}

    def have(self, tenant: str, model: Any) -> list[int]:
        """Which migrations the tenant's own database says that it has had."""
        engine = self.world.ports.databases.at(Home(model))
        with engine.reading(tenant, model) as connection:
            return [one.number for one in migrated(connection).values() if one.state == "done"]


def fleet_bench(bench: Bench) -> FleetBench:
    """A bench on which somebody may change every tenant."""
    let_in(bench.world, BOSS, "platform_admin")
    bench.world.alter_grant(APPROVER, tenants=[EVERY_TENANT])
    return FleetBench(bench)
