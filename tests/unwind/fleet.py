"""A change of all tenants as it is killed: tenants in every model, a migration more each time, a look at each. Not one tenant's runs."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from control_plane.databases.migrated import migrated
from control_plane.domain.campaign import FleetReceipt
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.engine.failpoints import RUN_BOUNDARIES
from control_plane.fleet import campaigns
from control_plane.handlers.registry import failpoint_names
from control_plane.store import rows
from control_plane.store.database_tables import fleet_receipt
from server.workspace import StoreKind
from tests.support.fleet_files import NOTES, header
from tests.support.house import fresh_key
from tests.support.workers import running_worker
from tests.unwind.ledger import Ledger, told_by, write_by_call
from tests.unwind.lifecycles import DESCRIBED, Asked

if TYPE_CHECKING:
    from tests.unwind.site import Site

KIND: Final = "fleet_migration"
# Behind it tenants are changed, and there is only forward.
_FAILING: Final = f"{KIND}.carry.before:1:raise"
_MIGRATIONS: Final = 40
FILES: Final = {
    "0001_notes.sql": NOTES.encode(),
    **{
        f"{number:04d}_more.sql": (
            header() + f"ALTER TABLE note ADD COLUMN more_{number} int;\n"
        ).encode()
        for number in range(2, _MIGRATIONS + 1)
    },
}
"""One for each campaign of a session."""


@dataclass(frozen=True)
class FleetKill:
    """One kill of a worker that carries a campaign."""

    point: str
    store: StoreKind

    def __str__(self) -> str:
        """The case's name in a test's id."""
        return f"{self.point}-{self.store}"

    @property
    def undoes(self) -> bool:
        """Whether the boundary is reached only by a run that is taken back."""
        return ".undo_" in self.point or self.point == "run.compensating"


def every_fleet_kill(store: StoreKind) -> list[FleetKill]:
    """Every boundary that a worker reaches in a campaign."""
    own = [name for name in failpoint_names() if name.startswith(f"{KIND}.")]
    return [FleetKill(point, store) for point in (*RUN_BOUNDARIES, *own)]


class Fleet:
    """A workspace with a tenant in each model, and how far its migrations have been carried."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._through = 0
        self._tenants: dict[str, tuple[Isolation, Ledger]] = {}

    def strike(self, kill: FleetKill) -> None:
        """Kill the worker at the boundary; a healthy one goes on, and every tenant has it once, or none."""
        site = self._site
        self._gather()
        armed = [f"{kill.point}:1:kill", *([_FAILING] if kill.undoes else [])]
        wanted = {"through": self._through + 1, "idempotency_key": fresh_key()}
        with running_worker(site.house, *site.worker_options(*armed)) as victim:

            def died() -> bool:
                return victim.process.poll() is not None

            run_id = site.propose(Asked("fleet_migration_start", wanted))
            run = site.follow(run_id, died)
            assert died(), f"{kill.point} was not reached: {run}"
            assert victim.process.returncode == -signal.SIGKILL
        with running_worker(site.house, *site.worker_options()):
            run = site.follow(run_id)
            assert run.state == ("compensated" if kill.undoes else "applied"), run
            self._through += 0 if kill.undoes else 1
            self._check(run_id, "aborted" if kill.undoes else "done")

    def _gather(self) -> None:
        if self._tenants:
            return
        with running_worker(self._site.house, *self._site.worker_options()):
            for model in ISOLATIONS:
                tenant, ledger = f"fleet-{model}", Ledger()
                self._site.carry_out([DESCRIBED["onboard"].asked(tenant, model)])
                write_by_call(self._site, tenant, ledger)
                self._tenants[tenant] = (model, ledger)

    def _check(self, run_id: str, state: str) -> None:
        site, numbers = self._site, list(range(1, self._through + 1))
        with site.store.read() as connection:
            campaign = campaigns.campaign_of_run(connection, run_id)
        assert campaign is not None
        assert campaign.state == state
        for tenant, (model, ledger) in self._tenants.items():
            with site.servers.main.reading(tenant, model) as reading:
                found = migrated(reading).values()
                told = told_by(reading, site.collections, tenant)
            assert [(one.number, one.state) for one in found] == [(one, "done") for one in numbers]
            receipts = self._receipts(tenant)
            assert [one.number for one in receipts] == numbers
            assert {(one.state, one.attempts) for one in receipts} <= {("done", 1)}
            assert told.records == ledger.sums()
            write_by_call(site, tenant, ledger)
            assert site.vouched(tenant), "a row is not as its last leaf says"

    def _receipts(self, tenant: str) -> list[FleetReceipt]:
        mine = fleet_receipt.c.tenant == tenant
        with self._site.store.read() as connection:
            found = rows.every(connection, fleet_receipt, FleetReceipt, mine)
        return sorted(found, key=lambda one: one.number)
