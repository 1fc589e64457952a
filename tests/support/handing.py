"""A tenant on Postgres whose own services reach its database directly. Holds no test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from control_plane.databases.servers import NamedServers
from control_plane.domain.database import Database
from control_plane.domain.handover import Access, Half, Handover, HandoverTerms, half_of
from control_plane.domain.isolation import Isolation
from control_plane.handlers.database_rows import serving
from control_plane.handlers.handovers import handed
from control_plane.secrets.secret_folder import SecretFolder
from graphs.gatekeeper import Gate
from tests.support.approval_template import make_world
from tests.support.approval_world import TENANT, Template
from tests.support.lifecycle_bench import ADMIN, SUPPORT, Bench
from tests.support.tenants import TenantServer

Session: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
ADD = (
    "INSERT INTO contacts (tenant_id, id, version, created_at, full_name, email, status, balance)"
    " VALUES (%s, %s, 1, now(), 'y', %s, 'lead', 0)"
)


@dataclass(frozen=True)
class Served:
    """A bench with the folder in which the services find their passwords."""

    bench: Bench
    folder: Path
    server: TenantServer

    @property
    def handed(self) -> Handover:
        """What the services were told last."""
        with self.bench.world.store.read() as connection:
            found = handed(connection, TENANT)
        assert found is not None
        return found

    @property
    def database(self) -> Database | None:
        """The database that serves, as its row tells it."""
        with self.bench.world.store.read() as connection:
            return serving(connection, self.bench.tenant)

    @property
    def halves(self) -> dict[Half, Access]:
        """By which halves the services are let in, and what each may."""
        home = self.bench.tenant.home
        engine = self.bench.world.ports.databases.at(home)
        return dict(engine.direct_halves(TENANT, home.isolation))

    @property
    def secrets(self) -> list[str]:
        """The references under which something lies."""
        return sorted(one.name for one in self.folder.iterdir())

    @contextmanager
    def service(self, known: Handover | None = None) -> Generator[Session]:
        """A session as the services have it, by what they were told."""
        known = known or self.handed
        home = self.bench.tenant.home
        engine = self.bench.world.ports.databases.at(home)
        address = engine.direct_address(TENANT, home.isolation, half_of(known.half))
        with psycopg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            dbname=address.database,
            password=(self.folder / known.secret).read_text(),
            autocommit=True,
        ) as raw:
            yield raw

    def with_overlap(self, overlap_s: float) -> Served:
        """The same, where a former credential holds for so long."""
        ports = replace(self.bench.world.ports, handover=HandoverTerms(overlap_s=overlap_s))
        return replace(self, bench=Bench(self.bench.world.with_ports(ports)))


def served(
    template: Template, folder: Path, gate: Gate, server: TenantServer, isolation: Isolation
) -> Generator[Served]:
    """A world of its own, with one tenant that was onboarded onto the server."""
    with server.engine() as databases:
        world = make_world(template, folder / "world", gate)
        secrets = folder / "handover"
        ports = replace(
            world.ports,
            databases=NamedServers(databases),
            secrets=SecretFolder(secrets),
            handover=HandoverTerms(overlap_s=0.0),
        )
        bench = Bench(world.with_ports(ports))
        run = bench.work(bench.world.propose(isolation=isolation))
        assert run.state == "applied", run
        world.grant(SUPPORT, "support", actor="sue-bot")
        world.grant(ADMIN, "platform_admin", actor="pam-bot")
        yield Served(bench, secrets, server)
        world.close()
