"""A workspace whose worker may be killed at a named boundary: its calls, its runs, its approver. Not a test."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import select

from control_plane.audit.recorder import guarded_rows
from control_plane.data.collection import Collection
from control_plane.databases.port import DatabaseEngine, DatabaseServers
from control_plane.domain.home import MAIN
from control_plane.domain.outcome import Outcome
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.errors import Refused
from control_plane.facts.load import approval_row, run_row, tenant_row
from control_plane.ports import Recorder, Store
from control_plane.store import rows, tables
from server.auditing import Auditing
from server.catalog import write_sample
from server.ids import RandomIds
from server.protection import protect
from server.tenant_servers import declare, open_servers
from server.wiring import Face, face_ports
from server.workspace import StoreKind
from tests.support.approver import approve, enrol
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.onboarding import contact
from tests.support.postgres import Postgres, raze
from tests.support.waiting import until
from tests.support.workers import running_worker
from tests.unwind.effects import Effects, effect_modules
from tests.unwind.ledger import ORDERS
from tests.unwind.lifecycles import Asked
from tests.unwind.money import TRIAL

ENDED = frozenset(
    {"applied", "compensated", "compensation_failed", "failed", "canceled", "discarded"}
)
RUN_S = 90.0


@dataclass(frozen=True)
class Site:
    """One workspace with its agent, its approver, and the log of real effects."""

    kind: StoreKind
    house: House
    postgres: Postgres | None
    store: Store
    databases: DatabaseEngine
    servers: DatabaseServers
    collections: tuple[Collection, ...]
    recorder: Recorder
    contacts: Collection
    effects: Effects
    agent: Token
    human: Token
    agent_face: Face
    support_face: Face
    others: dict[str, Postgres] = field(default_factory=dict[str, Postgres])

    @property
    def engines(self) -> dict[str, Postgres | None]:
        """The servers of tenants' databases by name; a folder of files is none."""
        return {MAIN: self.postgres, **self.others}

    def declare(self, name: str, server: Postgres) -> None:
        """Let tenants' databases stand on another server too."""
        declare(self.house.workspace, name, server.owner, RandomIds().new())
        self.others[name] = server

    def worker_options(self, *failpoints: str) -> list[str]:
        """What a worker of this site is started with."""
        armed = [part for point in failpoints for part in ("--failpoints", point)]
        return [*self.effects.options(), *armed]

    # calls -----------------------------------------------------------------------------------

    def call(self, asked: Asked, face: Face | None = None) -> Outcome:
        """Call through a face of this process: the agent's, unless another is given."""
        answer = (face or self.agent_face).front.call(asked.tool, asked.arguments)
        assert answer.outcome is not None, answer.bad_input
        return answer.outcome

    def propose(self, asked: Asked) -> str:
        """Ask for a run; its id."""
        outcome = self.call(asked)
        assert outcome.run_id is not None, outcome
        return outcome.run_id

    def add_record(self, tenant: str) -> None:
        """One more row of the tenant's data."""
        values = {"collection": "contacts", "values": contact(), "idempotency_key": fresh_key()}
        outcome = self.call(Asked("record_create", {"tenant": tenant, **values}), self.support_face)
        assert outcome.answer()["outcome"] == "done", outcome

    def unprotect(self, tenant: str) -> None:
        """Lift deletion protection, as an administrator's own command does."""
        with self.store.write(tenant) as connection:
            protect(connection, self.recorder, tenant, deletion_protection=False)

    # runs ------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        with self.store.read() as connection:
            found = run_row(connection, run_id)
        assert found is not None
        return found

    def runs_of(self, tenant: str, kind: str) -> list[Run]:
        """Every run of a kind that there ever was for a tenant."""
        table = tables.run
        where = (table.c.tenant == tenant) & (table.c.kind == kind)
        with self.store.read() as connection:
            return rows.every(connection, table, Run, where)

    def tenant(self, tenant: str) -> Tenant | None:
        """The tenant as it stands."""
        with self.store.read() as connection:
            return tenant_row(connection, tenant)

    def follow(self, run_id: str, died: Callable[[], bool] = lambda: False) -> Run:
        """Wait until the run has ended, or the worker died; a human approves where one is asked."""

        def paused() -> bool:
            return died() or self.run(run_id).state in ENDED or self._asks(run_id)

        until(paused, f"the run {run_id} comes to rest, or the worker died", RUN_S)
        if not died() and self._asks(run_id) and self._approved(run_id, died):
            until(
                lambda: died() or self.run(run_id).state in ENDED,
                f"the run {run_id} ends, or the worker died",
                RUN_S,
            )
        return self.run(run_id)

    def _approved(self, run_id: str, died: Callable[[], bool]) -> bool:
        try:
            approve(self.house, self.human, str(self.run(run_id).approval_id))
        except Refused:
            # A worker takes its policy engine along: only then may the approver find none.
            until(died, f"the worker at the run {run_id} died, or its approver is let through")
            return False
        return True

    def _asks(self, run_id: str) -> bool:
        run = self.run(run_id)
        if run.state != "awaiting_approval":
            return False
        with self.store.read() as connection:
            found = approval_row(connection, str(run.approval_id))
        return found is not None and found.state == "pending"

    def carry_out(self, asked: Sequence[Asked]) -> None:
        """Have runs of several tenants carried out by the worker that is running."""
        for run_id in [self.propose(one) for one in asked]:
            run = self.follow(run_id)
            assert run.state == "applied", run

    # the log ---------------------------------------------------------------------------------

    def vouched(self, tenant: str) -> bool:
        """Whether every guarded row of a tenant's is as the last leaf that wrote it says."""
        table = tables.audit_leaf
        mine = select(table.c.guards).where(table.c.tenant == tenant).order_by(table.c.written)
        said: dict[tuple[str, str], str | None] = {}
        with self.store.read() as connection:
            for (guards,) in connection.execute(mine):
                for guard in guards:
                    said[(guard["table"], guard["key"])] = guard["digest"]
            standing = guarded_rows(connection)
        assert said, "nothing was recorded"
        return all(standing.get(key) == digest for key, digest in said.items())

    def assert_log_intact(self) -> None:
        """Hold log and rows against each other as an auditor does, once all is in the log."""
        auditing = Auditing(self.house.workspace, self.store)
        with running_worker(self.house, *self.worker_options()):
            until(lambda: not auditing.verify().notices, "every leaf is in the log", RUN_S)
        assert auditing.verify().findings == ()


@contextmanager
def make_site(
    folder: Path,
    cerbos: Path,
    kind: StoreKind,
    postgres: Postgres | None,
    migrations: Mapping[str, bytes] = MappingProxyType({}),
) -> Generator[Site]:
    """A new workspace below a folder; what it has on a server is gone at the end."""
    catalog = folder / "catalog"
    write_sample(catalog)
    with (catalog / "plans.yaml").open("a") as plans:
        plans.write(TRIAL)
    (catalog / "collections" / "orders.yaml").write_text(ORDERS)
    for name, text in migrations.items():
        (catalog / "migrations").mkdir(exist_ok=True)
        (catalog / "migrations" / name).write_bytes(text)
    house = build_house(folder / "house", cerbos, postgres=postgres, catalog=catalog)
    # Nobody follows a rotation here, and a worker waits for it no longer.
    house = house.with_environment(PAYBILL_HANDOVER_OVERLAP_S="0.2")
    with ExitStack() as stack:
        if postgres is not None:
            stack.callback(raze, postgres, house.workspace.id)
        enrol(house, "alice")
        store = stack.enter_context(house.store())
        ports = face_ports(house.workspace, house.settings, store)
        stack.callback(ports.databases.close)
        # Rows go by the faces' login there too; only the worker's sees who is let in.
        servers = open_servers(house.workspace, house.settings.limits.statement_ms_max, "worker")
        stack.callback(servers.close)
        agent = house.issue("platform_admin", "*")
        support = house.issue("platform_admin,support", "*", principal="sue")
        yield Site(
            kind=kind,
            house=house,
            postgres=postgres,
            store=store,
            databases=ports.databases.main,
            servers=servers,
            collections=tuple(ports.catalog.collections.values()),
            recorder=ports.recorder,
            contacts=ports.catalog.collections["contacts"],
            effects=effect_modules(folder),
            agent=agent,
            human=house.issue("platform_admin", "*", actor=None),
            agent_face=stack.enter_context(house.face(agent)),
            support_face=stack.enter_context(house.face(support)),
        )
