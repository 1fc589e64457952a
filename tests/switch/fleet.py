"""A workspace whose catalog is switched: its tenants, their rows, and what each database serves. Not a test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from sqlalchemy import select

from control_plane.data.collection import Collection
from control_plane.data.tables import collection_table
from control_plane.databases.port import DatabaseEngine, Probe
from control_plane.domain.isolation import Isolation
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.load import approval_row
from control_plane.handlers.catalog_in_force import KIND, applied_digest, digest_before
from control_plane.ports import Store
from control_plane.store import tables
from server.auditing import Auditing
from server.catalog import load_kept
from server.catalog_applying import RESTING, opened_front
from server.catalog_applying import ask as ask_for
from server.wiring import Face, face_ports
from tests.support.approver import approve
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.onboarding import ask, contact, onboarding
from tests.support.postgres import Postgres, raze
from tests.support.switching import Operator, add_field
from tests.support.waiting import until
from tests.support.workers import running_worker

RUN_S = 120.0
# Behind the switch a run waits for as long as a call may take.
_LIMITS: Final = {"call_deadline_s": "1", "gate_deadline_s": "5"}
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Fleet:
    """One workspace with its operator, and tenants by their isolation models, one row each at least."""

    house: House
    operator: Operator
    store: Store
    databases: DatabaseEngine
    support: Token
    engines: Path
    tenants: dict[str, Isolation]

    # tenants ---------------------------------------------------------------------------------

    def onboard(self, face: Face, tenant: str, model: Isolation) -> None:
        """Bring a tenant into being; a worker runs."""
        plan = "free" if model == "pooled" else "team"
        asked = onboarding(tenant, plan=plan, isolation=model)
        run = self.to_its_end(ask(face, "tenant_onboard", **asked)["run_id"])
        assert run.state == "applied", run
        self.tenants[tenant] = model

    def suspend(self, face: Face, tenant: str) -> None:
        """Shut it."""
        asked = {"tenant": tenant, "reason": "operator", "idempotency_key": fresh_key()}
        run = self.to_its_end(ask(face, "tenant_suspend", **asked)["run_id"])
        assert run.state == "applied", run

    def add(self, face: Face, tenant: str, **values: Any) -> dict[str, Any]:
        """One more contact; the whole answer."""
        told = {"collection": "contacts", "values": contact(**values)}
        return ask(face, "record_create", tenant=tenant, idempotency_key=fresh_key(), **told)

    # the catalog -----------------------------------------------------------------------------

    def in_force(self) -> tuple[str, str | None]:
        """The digest in force, and the one before for as long as databases may serve it."""
        with self.store.read() as connection:
            return str(applied_digest(connection)), digest_before(connection)

    def another(self) -> str:
        """A catalog with one field more than the one in force; its digest."""
        return self.operator.changed(
            add_field(f"extra_{next(_NUMBERS)}", "{kind: string, nullable: true}")
        )

    def back(self) -> None:
        """Make the working files again what is in force."""
        kept, folder = self.house.workspace.catalogs / self.in_force()[0], self.house.workspace
        shutil.rmtree(folder.catalog)
        shutil.copytree(kept, folder.catalog)
        for path in (folder.catalog, *folder.catalog.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)

    def declared(self, digest: str) -> Sequence[Collection]:
        """What a kept catalog declares."""
        return tuple(load_kept(self.house.workspace.catalogs, digest).collections.values())

    def serving(self, digest: str) -> dict[str, Probe]:
        """What a probe by that catalog says of each tenant."""
        declared = self.declared(digest)
        return {
            tenant: self.databases.probe(tenant, model, declared)
            for tenant, model in self.tenants.items()
        }

    def rows(self, digest: str) -> dict[str, list[dict[str, Any]]]:
        """Every tenant's contacts, as that catalog declares them; without what is null in them."""
        found: dict[str, list[dict[str, Any]]] = {}
        (declared,) = (one for one in self.declared(digest) if one.name == "contacts")
        table = collection_table(declared)
        for tenant, model in self.tenants.items():
            with self.databases.reading(tenant, model) as connection:
                mine = select(table).where(table.c.tenant_id == tenant).order_by(table.c.id)
                rows = connection.execute(mine).mappings().all()
            found[tenant] = [{k: v for k, v in row.items() if v is not None} for row in rows]
        return found

    def assert_served_alone(self, digest: str, other: str) -> None:
        """Every database is ready for the one catalog, and serves no other."""
        assert self.in_force() == (digest, None)
        assert set(self.serving(digest).values()) == {"ready"}
        assert set(self.serving(other).values()) == {"differs"}

    # runs ------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        return self.operator.run(run_id)

    def steps(self, run_id: str) -> Mapping[str, str]:
        """The states of a run's steps that have begun."""
        step = tables.run_step
        with self.store.read() as connection:
            found = connection.execute(select(step.c.name, step.c.state).filter_by(run_id=run_id))
            return {row.name: row.state for row in found}

    def came_to(self, run_id: str, step: str, state: str) -> None:
        """Wait until a step of a run is in that state."""
        until(lambda: self.steps(run_id).get(step) == state, f"{step} is {state}", RUN_S)

    def to_its_end(self, run_id: str, died: Callable[[], bool] = lambda: False) -> Run:
        """Wait until a run rests, or its worker died; approved where that is asked."""

        def paused() -> bool:
            return died() or self.run(run_id).state in RESTING or self._asks(run_id)

        until(paused, f"the run {run_id} comes to rest", RUN_S)
        if not died() and self._asks(run_id):
            try:
                approve(self.house, self.operator.token, str(self.run(run_id).approval_id))
            except Refused:
                # A worker takes its policy engine along: only then may the approver find none.
                until(died, "the worker died, or its approver is let through")
                return self.run(run_id)
            until(
                lambda: died() or self.run(run_id).state in RESTING,
                f"the run {run_id} comes to its end",
                RUN_S,
            )
        return self.run(run_id)

    def _asks(self, run_id: str) -> bool:
        run = self.run(run_id)
        if run.state != "awaiting_approval":
            return False
        with self.store.read() as connection:
            found = approval_row(connection, str(run.approval_id))
        return found is not None and found.state == "pending"

    @contextmanager
    def held_at(self, point: str) -> Generator[None]:
        """A worker whose run stays at a boundary for good; killed with the block, which frees it."""
        with running_worker(self.house, "--failpoints", f"{KIND}.{point}:1:hang") as worker:
            yield
            worker.kill()

    def approved(self, digest: str, step: str, asker: Token | None = None) -> str:
        """Ask for a catalog, approve it, and wait until a step is done; the run's id."""
        token = self.operator.token if asker is None else asker
        run_id = Operator(self.house, token).ask(digest)
        self.operator.approve(run_id)
        self.came_to(run_id, step, "succeeded")
        return run_id

    def refused(self, digest: str) -> str | None:
        """Ask for a catalog that is refused at once; the code."""
        settings, token = self.house.settings, self.operator.token
        with opened_front(self.house.workspace, settings, token.file) as (front, _):
            outcome = ask_for(front, digest, fresh_key())
        assert outcome.outcome == "refused", outcome
        return outcome.code

    # what is left ----------------------------------------------------------------------------

    def assert_log_intact(self) -> None:
        """Hold log and rows against each other as an auditor does; a worker runs."""
        auditing = Auditing(self.house.workspace, self.store)
        until(lambda: not auditing.verify().notices, "every leaf is in the log", RUN_S)
        assert auditing.verify().findings == ()

    def assert_no_engine_left(self) -> None:
        """No policy engine of this workspace's runs, and none has left its folder."""
        assert list(self._engine_processes()) == []
        assert list(self.engines.iterdir()) == []

    def _engine_processes(self) -> Iterator[str]:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or ()
            if any(str(self.engines) in word for word in words):
                yield " ".join(words)


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """An edit of one of the catalog's files."""

    def edit(catalog: Path) -> None:
        file = catalog / name
        told = file.read_text()
        assert old in told
        file.write_text(told.replace(old, new, 1))

    return edit


@contextmanager
def opened_fleet(
    folder: Path, cerbos: Path, postgres: Postgres | None, models: Sequence[Isolation]
) -> Generator[Fleet]:
    """A new workspace with a tenant of each model, named like it; the one of bridge is suspended."""
    with ExitStack() as stack:
        engines = Path(tempfile.mkdtemp(prefix="sw-", dir="/tmp"))  # a short path, for sockets
        stack.callback(shutil.rmtree, engines)
        house = build_house(folder, cerbos, limits=_LIMITS, postgres=postgres)
        if postgres is not None:
            stack.callback(raze, postgres, house.workspace.id)
        house = house.with_environment(TMPDIR=str(engines))
        store = stack.enter_context(house.store())
        databases = face_ports(house.workspace, house.settings, store, "worker").databases.main
        stack.callback(databases.close)
        support = house.issue("platform_admin,support", "*", principal="sue")
        operator = Operator.of(house)
        fleet = Fleet(house, operator, store, databases, support, engines, {})
        with running_worker(house) as worker:
            assert engines in Path(worker.state.socket).parents
            _bring_tenants(fleet, models)
        yield fleet


def _bring_tenants(fleet: Fleet, models: Sequence[Isolation]) -> None:
    with fleet.house.face(fleet.operator.token) as face, fleet.house.face(fleet.support) as calls:
        for model in models:
            fleet.onboard(face, f"of-{model}", model)
            assert fleet.add(calls, f"of-{model}")["outcome"] == "done"
        if "bridge" in models:
            fleet.suspend(face, "of-bridge")
