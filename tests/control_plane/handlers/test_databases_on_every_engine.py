"""Backups, restores and copies over every engine and isolation model: the same way, and the same rows at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.data.tables import collection_table
from control_plane.databases.servers import NamedServers
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.home import Home
from control_plane.domain.isolation import ISOLATIONS, Isolation
from policies.gate import Gate
from tests.support.approval_world import OTHER, REQUESTER
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import SUPPORT, Bench, Onboarded, make_bench
from tests.support.onboarding import contact
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server

pytestmark = pytest.mark.slice_of(6)


class Place:
    """A tenant of one model on one engine, beside the bench's own."""

    def __init__(self, bench: Bench, model: Isolation) -> None:
        self.bench = bench
        self.model = model
        world = bench.world
        run = world.work(world.propose(OTHER, isolation=model))
        if run.state == "awaiting_approval":
            self._approve(run)
            run = world.work(run.id)
        assert run.state == "applied", run

    def do(self, tool: str, **asked: Any) -> None:
        """Ask for a run, approve it where that is needed, and carry it out."""
        given = {"tenant": OTHER, "idempotency_key": fresh_key(), **asked}
        run = self.bench.work(self.bench.propose(tool, **given))
        if run.state == "awaiting_approval":
            self._approve(run)
            run = self.bench.work(run.id)
        assert run.state == "applied", run

    def _approve(self, run: Any) -> None:
        self.bench.world.forge(run, seed=self.bench.world.template.approver_seed)

    def ask(self, tool: str, who: str = REQUESTER, **asked: Any) -> dict[str, Any]:
        """The result of a call that is done."""
        answered = self.bench.ask(tool, who, tenant=OTHER, **asked)
        assert answered["outcome"] == "done", answered
        return dict(answered["result"])

    def add(self, count: int) -> None:
        """Add so many records."""
        for _ in range(count):
            made = {"collection": "contacts", "values": contact(), "idempotency_key": fresh_key()}
            self.ask("record_create", SUPPORT, **made)

    def rows(self) -> list[Any]:
        """The records as they are read."""
        return list(self.ask("record_query", SUPPORT, collection="contacts")["records"])

    def databases(self) -> dict[str, dict[str, Any]]:
        """The tenant's databases by what they are for."""
        told = self.ask("database_list")["databases"]
        return {one["purpose"]: one for one in told}

    def emails(self, purpose: str) -> set[str]:
        """The e-mail addresses that stand in one of them."""
        one = self.databases()[purpose]
        home = Home(one["isolation"], one["server"], one["slot"])
        table = collection_table(self.bench.world.ports.catalog.collections["contacts"])
        engine = self.bench.world.ports.databases.at(home)
        with engine.reading(OTHER, home.isolation) as connection:
            return set(connection.execute(select(table.c.email)).scalars())


@pytest.fixture(params=[(one, model) for one in ("sqlite", "postgres") for model in ISOLATIONS])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, gate: Gate, standing: Onboarded
) -> Iterator[Place]:
    """One engine and model after the other, with a tenant of its own."""
    engine, model = request.param
    bench = make_bench(standing, tmp_path / "world", gate)
    with ExitStack() as stack:
        stack.callback(bench.world.close)
        if engine == "sqlite":
            server: Any = SqliteDatabases(tmp_path / "data", busy_timeout_ms=2_000)
        else:
            postgres: Postgres = request.getfixturevalue("postgres")
            server = stack.enter_context(stack.enter_context(tenant_server(postgres)).engine())
        databases = NamedServers(server)
        world = bench.world.with_ports(replace(bench.world.ports, databases=databases))
        yield Place(Bench(world), model)


def test_data_comes_back_and_the_way_back_stands(place: Place) -> None:
    place.add(2)
    place.do("database_backup")
    had = place.rows()
    place.add(1)
    (backup,) = place.ask("backup_list", verified=True)["backups"]
    place.do("database_restore", backup=backup["backup"])
    assert place.rows() == had
    place.add(1)
    told = place.databases()
    assert (told["serving"]["slot"], told["former"]["slot"]) == (1, 0)
    place.do("database_restore", former=told["former"]["database"])
    assert len(place.rows()) == 3
    place.add(1)
    assert len(place.rows()) == 4


def test_a_copy_is_masked_and_goes_again(place: Place) -> None:
    place.add(3)
    place.do("database_clone")
    shown, masked = place.emails("serving"), place.emails("clone")
    assert len(masked) == len(shown)
    assert not masked & shown
    place.do("database_clone", drop=place.databases()["clone"]["database"])
    assert list(place.databases()) == ["serving"]
    assert place.emails("serving") == shown
