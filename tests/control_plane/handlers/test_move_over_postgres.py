"""Moves from SQLite to a Postgres server, between its models and to another server, under a caller who never stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import pytest

from control_plane.databases.servers import NamedServers
from control_plane.domain.home import MAIN, Home
from control_plane.domain.isolation import Isolation
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.moving import approved, databases, moves, resumed
from tests.support.offboarding import found, records
from tests.support.postgres import Postgres
from tests.support.tenants import tenant_server, workspace

# Each direction between two models once, and each engine and server left for another.
JOURNEY: Final[tuple[tuple[str, Isolation], ...]] = (
    ("pg", "pooled"),
    ("pg", "bridge"),
    ("pg", "pooled"),
    ("pg", "silo"),
    ("pg", "bridge"),
    ("pg", "silo"),
    ("pg", "pooled"),
    ("other", "bridge"),
)
_DEADLINE_S: Final = 30.0


@pytest.fixture
def travelling(bench: Bench, postgres: Postgres) -> Iterator[Bench]:
    """The bench with two Postgres servers beside its own files."""
    with ExitStack() as stack:
        logins = stack.enter_context(tenant_server(postgres))
        others = {
            name: stack.enter_context(
                stack.enter_context(workspace(logins)).engine(statement_ms_max=5_000)
            )
            for name in ("pg", "other")
        }
        main = bench.world.ports.databases.main
        servers = NamedServers(main, lambda: tuple(others), others.__getitem__)  # type: ignore[arg-type]
        ports = replace(bench.world.ports, databases=servers)
        yield Bench(bench.world.with_ports(ports))


class Caller(threading.Thread):
    """Adds records until it is told to stop; keeps the ids of those that were answered `done`."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self._bench = bench
        self._stop_asked = threading.Event()
        self.ledger: list[str] = []
        self.refused: dict[str, int] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                answered = self._bench.create()
                if answered["outcome"] == "done":
                    self.ledger.append(str(answered["result"]["record"]["id"]))
                else:
                    code = str(answered.get("code"))
                    self.refused[code] = self.refused.get(code, 0) + 1
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error

    def stop(self) -> None:
        """Let the last call end."""
        self._stop_asked.set()
        self.join(_DEADLINE_S)
        assert not self.is_alive()
        assert self.error is None, self.error


def ids(bench: Bench) -> list[str]:
    """The ids of all the tenant's records."""
    from sqlalchemy import select

    from control_plane.data.tables import collection_table

    table = collection_table(bench.world.ports.catalog.collections["contacts"])
    home = bench.tenant.home
    engine = bench.world.ports.databases.at(home)
    with engine.reading(TENANT, home.isolation) as connection:
        mine = select(table.c.id).where(table.c.tenant_id == TENANT).order_by(table.c.id)
        return [str(one) for one in connection.execute(mine).scalars()]


@pytest.mark.long
def test_a_tenant_travels_through_every_model_and_loses_nothing_that_was_answered(
    travelling: Bench,
) -> None:
    had = [str(one["id"]) for one in records(travelling, 3)]
    for server, isolation in JOURNEY:
        caller = Caller(travelling)
        caller.start()
        try:
            run = resumed(travelling, approved(travelling, isolation=isolation, server=server))
        finally:
            caller.stop()
        assert run.state == "applied", (server, isolation, run)
        had += caller.ledger
        home = travelling.tenant.home
        assert (home.server, home.isolation) == (server, isolation)
        assert ids(travelling) == sorted(had), (server, isolation)
        # Frozen, or decided where it stood before: nothing of either was done.
        assert set(caller.refused) <= {"tenant_moving"}, caller.refused
    assert all(one.frozen_ms is not None for one in moves(travelling))


@pytest.mark.long
def test_what_was_left_on_each_server_is_closed_and_kept(travelling: Bench) -> None:
    records(travelling, 2)
    for server, isolation in JOURNEY[:2]:
        run = resumed(travelling, approved(travelling, isolation=isolation, server=server))
        assert run.state == "applied", run
    servers = travelling.world.ports.databases
    for home in (Home("pooled", MAIN), Home("pooled", "pg")):
        assert servers.at(home).exists(TENANT, "pooled")
        assert servers.at(home).open_at(TENANT, "pooled") is None
    assert len(found(travelling)) == 2
    assert databases(travelling)["serving"].home == Home("bridge", "pg")
