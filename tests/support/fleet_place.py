"""A store and tenants' databases in one folder, on which campaigns are carried out and killed. Holds no test.

There is no policy engine and no job engine: a run stands in the store as a worker has taken it.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Integer, String, column, insert, select, table, update

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.databases.migrated import migrated
from control_plane.databases.port import DatabaseServer
from control_plane.databases.servers import NamedServers
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.canonical import instant
from control_plane.domain.home import Home
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.fleet import campaigns
from control_plane.fleet.checker import require_sound
from control_plane.fleet_commands import StartFleetMigration
from control_plane.handlers import fleet_migration_steps as steps
from control_plane.handlers.handler import Ports, Work
from control_plane.store import rows, tables
from control_plane.store.database_tables import fleet_receipt
from control_plane.store.sqlite import SqliteStore
from tests.support.fleet_files import NOTES, TITLED, header
from tests.support.migrated import migrated_sqlite
from tests.support.tenants import TenantServer

FIRST, RUN = "first-run", "run-of-the-fleet"
# Done twice, it would be seen in every row.
RAISED = "UPDATE note SET rank = rank + 1;\n"
COUNTED = header() + TITLED + RAISED
FILES: Mapping[str, bytes] = {
    "0001_notes.sql": NOTES.encode(),
    "0002_counted.sql": COUNTED.encode(),
}
NOTE = table("note", column("tenant_id", String), column("id", String), column("rank", Integer))
_BUSY_MS = 30_000
# How often it is looked how far another process is.
_LOOK_S = 0.005


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class _Recorder:
    """Counts nothing and keeps nothing: what leaves cost is measured elsewhere."""

    def record(self, *_: Any, **__: Any) -> str:
        return ""


@dataclass(frozen=True)
class FleetPlace:
    """A folder, and the Postgres server of its tenants where it is not SQLite's files."""

    folder: Path
    server: TenantServer | None = None

    def make(self, tenants: int) -> None:
        """So many active tenants, a third in each model, each with one row of the team's."""
        migrated_sqlite(self.folder / "store.db")
        with self.opened(1, FIRST) as work:
            self._add(work, tenants)
            self._begin(work, 1)
            steps.carry(work, None)
            self._write_rows(work)
        with self.opened(1) as work:
            self._begin(work, 2)

    def _add(self, work: Work, tenants: int) -> None:
        collections = tuple(work.ports.catalog.collections.values())
        for number in range(tenants):
            tenant, model = f"t{number:05}", ISOLATIONS[number % len(ISOLATIONS)]
            row = Tenant(
                id=tenant,
                display_name=tenant,
                state="active",
                isolation=model,
                plan="team",
                region="local",
            )
            with work.ports.store.write() as connection:
                rows.put(connection, tables.tenant, row)
                known = {"tenant": tenant, "epoch": 1, "run_id": None, "data_epoch": 1}
                connection.execute(insert(tables.fence).values(**known))
            work.ports.databases.at(Home(model)).create(tenant, model, collections, 1)

    def _begin(self, work: Work, last: int) -> None:
        asked = replace(work, command=StartFleetMigration(through=last))
        with work.ports.store.write() as connection:
            rows.put(connection, tables.run, work.run)
            steps.begin(asked, connection)

    def _write_rows(self, work: Work) -> None:
        for tenant, model in self.tenants(work):
            engine = work.ports.databases.at(Home(model))
            with engine.transaction(tenant, model) as connection:
                connection.execute(insert(NOTE).values(tenant_id=tenant, id="1", rank=1))

    def tenants(self, work: Work) -> list[tuple[str, Isolation]]:
        """Every tenant, and its model."""
        with work.ports.store.read() as connection:
            found = connection.execute(select(tables.tenant.c.id, tables.tenant.c.isolation))
            return [(str(one), cast("Isolation", model)) for one, model in found]

    # a worker ---------------------------------------------------------------------------------

    @contextmanager
    def opened(self, epoch: int, run_id: str = RUN) -> Generator[Work]:
        """What a worker has in hand that took the run up for the `epoch`-th time."""
        store = SqliteStore(self.folder / "store.db", busy_timeout_ms=_BUSY_MS)
        with self._servers() as servers:
            ports = Ports(
                store=store,
                clock=_Clock(),
                ids=cast("Any", None),
                recorder=cast("Any", _Recorder()),
                notes=cast("Any", None),
                catalog=cast("Any", _catalog()),
                databases=servers,
                cursor_key=b"",
                hmac_key=b"",
                root=("", b""),
            )
            run = _run(run_id, epoch)
            try:
                yield Work(
                    run=run,
                    command=StartFleetMigration(),
                    ports=ports,
                    epoch=epoch,
                    should_stop=lambda: False,
                    asker=cast("Any", None),
                )
            finally:
                store.close()

    @contextmanager
    def _servers(self) -> Generator[NamedServers]:
        if self.server is None:
            made = NamedServers(SqliteDatabases(self.folder / "data", _BUSY_MS))
            yield made
            made.close()
            return
        with self.server.engine() as databases:
            yield NamedServers(cast("DatabaseServer", databases))

    def carry_on(self, epoch: int) -> None:
        """Take the run up, and carry the campaign as far as it goes; in whatever process."""
        with self.opened(epoch) as work:
            with work.ports.store.write() as connection:
                mine = tables.run.c.id == RUN
                connection.execute(update(tables.run).where(mine).values(attempts=epoch))
            steps.carry(work, None)

    def carry_on_until_killed(self, epoch: int, done: int, after_s: float) -> bool:
        """The same in a process that is killed (SIGKILL) so long after so many tenants are done.

        Whether it was: else it had come to its end. The moment hangs on the work, not on how fast
        the machine is.
        """
        child = multiprocessing.get_context("fork").Process(target=self.carry_on, args=(epoch,))
        child.start()
        while child.is_alive() and self.state()[1]["done"] < done:
            child.join(_LOOK_S)
        child.join(after_s)
        if child.is_alive():
            child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        return child.exitcode != 0

    # what stands ------------------------------------------------------------------------------

    def state(self) -> tuple[str, Counter[str]]:
        """The campaign's state, and how many receipts of its last migration there are by state."""
        with self.opened(0) as work, work.ports.store.read() as connection:
            found = campaigns.newest(connection)
            assert found is not None
            wanted = select(fleet_receipt.c.state).where(fleet_receipt.c.number == 2)
            return found.state, Counter(connection.execute(wanted).scalars())

    def wrong(self) -> list[str]:
        """Tenants whose database was skipped, or changed twice, by its own rows."""
        found: list[str] = []
        with self.opened(0) as work:
            for tenant, model in self.tenants(work):
                engine = work.ports.databases.at(Home(model))
                with engine.reading(tenant, model) as connection:
                    mine = select(NOTE.c.rank).where(NOTE.c.tenant_id == tenant)
                    ranks = list(connection.execute(mine).scalars())
                    if ranks != [2] or list(migrated(connection)) != [1, 2]:
                        found.append(tenant)
        return found


def _catalog() -> SimpleNamespace:
    people: Collection = load_collection(SAMPLES / "contacts.yaml")
    migrations = require_sound(FILES, {people.name})
    return SimpleNamespace(
        digest="0" * 64, collections={people.name: people}, migrations=migrations
    )


def _run(run_id: str, epoch: int) -> Run:
    now = instant(datetime.now(UTC))
    return Run(
        id=run_id,
        principal="boss",
        actor="boss",
        tenant="",
        kind="fleet_migration",
        state="applying",
        dry_run=False,
        created_at=now,
        updated_at=now,
        tool="fleet_migration_start",
        holds=False,
        call_id="call",
        grant_id="grant",
        command={},
        as_of=now,
        seed="0" * 64,
        attempts=epoch,
    )


def took_s(place: FleetPlace, epoch: int) -> float:
    """How long the campaign takes from here to its end."""
    began = time.perf_counter()
    place.carry_on(epoch)
    return time.perf_counter() - began
