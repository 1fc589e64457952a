"""Workspaces with a worker of their own on either engine, and tenants to suspend and to move. Measures nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import literal, null

from control_plane.data.tables import collection_table
from control_plane.domain.isolation import Isolation
from control_plane.domain.tenant import Tenant
from control_plane.store import rows, tables
from policies.binary import find_binary
from server.settings import read_settings
from server.wiring import Face
from tests.support.approver import approve, enrol
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.many_rows import Number, fill, text_of
from tests.support.onboarding import ask, contact, follow, onboarding
from tests.support.postgres import Postgres, raze
from tests.support.waiting import until
from tests.support.workers import running_worker

COLLECTION = "contacts"
DEADLINE_S = 600.0
_APPROVER = "alice"
_ROLES = "operator,support"
_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class Housed:
    """A face in this process, a worker in its own, and somebody who approves."""

    house: House
    face: Face
    human: Token

    def onboard(self, tenant: str, isolation: Isolation) -> None:
        """Bring a tenant into being."""
        self.carried("tenant_onboard", **onboarding(tenant, plan="team", isolation=isolation))

    def tenant(self, tenant: str) -> Tenant:
        """As it stands."""
        with self.face.store.read() as connection:
            found = rows.by(connection, tables.tenant.c.id, Tenant, tenant)
        assert found is not None, "it was onboarded"
        return found

    def fill(self, tenant: str, count: int) -> None:
        """Put so many records straight into the tenant's database."""
        home = self.tenant(tenant).home
        declared = self.face.generations.current().ports.catalog.collections[COLLECTION]
        table = collection_table(declared)
        for first in range(1, count + 1, _ROWS_AT_ONCE):
            last = min(count, first + _ROWS_AT_ONCE - 1)
            with self.face.databases.at(home).transaction(tenant, home.isolation) as connection:
                fill(connection, table, tenant, last, _person, first=first)

    def carried(self, tool: str, **asked: Any) -> str:
        """Ask for a run, approve it where it waits for that, and wait for its end; its id."""
        answered = ask(self.face, tool, **{"idempotency_key": fresh_key(), **asked})
        if answered["outcome"] != "running":
            raise SystemExit(f"{tool} answered {answered}")
        run_id = str(answered["run_id"])
        self.followed(run_id)
        return run_id

    def followed(self, run_id: str) -> None:
        """Wait for the end of a run."""
        run = follow(self.face, run_id, {"applied", "awaiting_approval"}, DEADLINE_S)
        if run["state"] == "awaiting_approval":
            approve(self.house, self.human, run["approval_id"])
            until(lambda: self._is_over(run_id), "the run is over", DEADLINE_S)

    def create(self, tenant: str) -> dict[str, Any]:
        """The answer to one more record."""
        return ask(
            self.face,
            "record_create",
            tenant=tenant,
            collection=COLLECTION,
            values=contact(),
            idempotency_key=fresh_key(),
        )

    def query(self, tenant: str) -> dict[str, Any]:
        """The answer to a page of one record."""
        return ask(self.face, "record_query", tenant=tenant, collection=COLLECTION, limit=1)

    def _is_over(self, run_id: str) -> bool:
        run = ask(self.face, "run_get", run_id=run_id)["result"]
        if run["state"] in ("failed", "compensated", "compensation_failed", "discarded"):
            raise SystemExit(f"the run came to {run['state']}: {run['detail']}")
        return bool(run["state"] == "applied")


@contextmanager
def housed(folder: Path, postgres: Postgres | None, tenants: Iterable[str]) -> Generator[Housed]:
    """A workspace whose rows and tenants lie on that server, else in files; who asks may these."""
    folder.mkdir(parents=True)
    settings = read_settings()
    engine = find_binary(
        setting=settings.cerbos_bin, environment={"PATH": settings.path}, cache_dir=settings.cache
    )
    with ExitStack() as stack:
        house = build_house(folder, engine.path, postgres=postgres)
        if postgres is not None:
            stack.callback(raze, postgres, house.workspace.id)
        stack.enter_context(running_worker(house))
        enrol(house, _APPROVER)
        human = house.issue("approver", "*", principal=_APPROVER, actor=None)
        face = stack.enter_context(house.face(house.issue(_ROLES, ",".join(tenants))))
        yield Housed(house, face, human)


def _person(n: Number) -> Mapping[str, Any]:
    return {
        "full_name": text_of("p", n),
        "email": text_of("p", n).concat("@example.com"),
        "company": null(),
        "status": literal("lead"),
        "balance": n,
        "notes": null(),
    }
