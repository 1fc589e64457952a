"""A silo tenant on the server that its own stack has made: real Terraform, a second real Postgres, from birth to its end."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.home import Home, stack_server
from control_plane.provisioning.stack_contract import lacks
from server.protection import protect
from server.tenant_servers import open_servers
from tests.control_plane.handlers.test_databases_on_every_engine import Place
from tests.support.approval_world import OTHER
from tests.support.lifecycle_bench import Bench
from tests.support.postgres import Postgres, running_postgres
from tests.support.stack_server import (
    StackServer,
    by_terraform,
    kept_files,
    placed,
)
from tests.support.stack_server import stack_server as a_stack_server
from tests.support.tenants import tenant_server

HERE = stack_server(OTHER)


@pytest.fixture
def server(bare_postgres: Postgres, tmp_path: Path) -> Iterator[StackServer]:
    """A server that the stack names."""
    with a_stack_server(bare_postgres, tmp_path) as made:
        yield made


@pytest.fixture
def place(bench: Bench, server: StackServer, tmp_path: Path) -> Iterator[Place]:
    """The tenant on it; the workspace's own is a folder of files."""
    main = SqliteDatabases(bench.world.workspace.data, busy_timeout_ms=2_000)
    made = placed(bench, server, main, by_terraform(server, tmp_path))
    yield Place(made, "silo")
    made.world.ports.databases.close()


@pytest.fixture
def between(
    bench: Bench, postgres: Postgres, tmp_path: Path
) -> Iterator[tuple[Place, StackServer]]:
    """The tenant on a second server; the workspace's own is the first one."""
    with ExitStack() as stack:
        second = stack.enter_context(running_postgres())
        server = stack.enter_context(a_stack_server(second, tmp_path))
        main = stack.enter_context(stack.enter_context(tenant_server(postgres)).engine())
        made = placed(bench, server, main, by_terraform(server, tmp_path))
        stack.callback(made.world.ports.databases.close)
        yield Place(made, "silo"), server


def home(place: Place) -> tuple[str, str]:
    """On which server the tenant stands, and in which model."""
    tenant = place.bench.world.tenant(OTHER)
    assert tenant is not None
    return tenant.home.server, tenant.home.isolation


def offboarded(place: Place) -> Any:
    """Take the tenant away; what it is then."""
    world = place.bench.world
    with world.store.write() as connection:
        protect(connection, world.ports.recorder, OTHER, deletion_protection=False)
    place.do("tenant_offboard", cancel_subscription=True)
    return world.tenant(OTHER)


@pytest.mark.long
def test_a_silo_lives_on_the_server_of_its_stack_and_leaves_nothing_there(
    place: Place, server: StackServer
) -> None:
    assert lacks(server.module, "local") == ()
    databases = place.bench.world.ports.databases
    # It stands there, and not on the workspace's own server.
    assert home(place) == (HERE, "silo")
    place.add(2)
    assert databases.at(Home("silo", HERE)).exists(OTHER, "silo")
    assert not databases.main.exists(OTHER, "silo")
    assert any(one.endswith(OTHER) for one in server.names("pg_database", "datname"))
    # Its logins are this user's alone, and the owner's is not among them.
    kept = kept_files(place.bench)
    told = [f".{HERE}.json", "postgres-data.json", "postgres-worker.json"]
    assert [one.name for one in kept] == told
    assert {stat.S_IMODE(one.stat().st_mode) for one in kept} == {0o600}
    assert not any(server.password in one.read_text() for one in kept)
    place.do("tenant_suspend", reason="operator")
    assert databases.at(Home("silo", HERE)).open_at(OTHER, "silo") is None
    assert offboarded(place).state == "deprovisioned"
    assert kept_files(place.bench) == []
    assert server.names("pg_roles", "rolname") == set()
    assert server.names("pg_database", "datname") == set()


@pytest.mark.sweep
def test_what_is_done_with_any_server_is_done_with_it(between: tuple[Place, StackServer]) -> None:
    place, server = between
    databases = place.bench.world.ports.databases
    place.add(2)
    assert any(one.endswith(OTHER) for one in server.names("pg_database", "datname"))
    assert not databases.main.exists(OTHER, "silo")
    place.do("tenant_suspend", reason="operator")
    place.do("tenant_resume", reason="operator")
    had = place.rows()
    place.do("database_backup")
    place.add(1)
    (backup,) = place.ask("backup_list", verified=True)["backups"]
    place.do("database_restore", backup=backup["backup"])
    assert place.rows() == had
    assert home(place) == (HERE, "silo")
    place.do("database_clone")
    assert place.databases()["clone"]["server"] == HERE
    place.do("database_clone", drop=place.databases()["clone"]["database"])
    # Away to the workspace's own, and back.
    for there in ("main", HERE):
        place.do("tenant_move", isolation="silo", server=there)
        assert (place.rows(), home(place)) == (had, (there, "silo"))
    # And away for good: its stack goes with what is left there.
    place.do("tenant_move", isolation="pooled", server="main")
    assert kept_files(place.bench)
    told = place.ask("database_list")["databases"]
    for one in told:
        if one["purpose"] == "former":
            place.do("tenant_move_finalise", database=one["database"])
    assert kept_files(place.bench) == []
    assert server.names("pg_roles", "rolname") == set()
    assert place.rows() == had


@pytest.mark.sweep
def test_a_tenant_that_is_restored_gets_a_server_of_its_stack_anew(
    between: tuple[Place, StackServer],
) -> None:
    place, server = between
    place.add(2)
    had = place.rows()
    # A face that runs on meanwhile: it has the first logins, and then the second ones.
    with closing(open_servers(place.bench.world.workspace, 5_000, "face")) as faces:
        assert faces.at(Home("silo", HERE)).exists(OTHER, "silo")
        _come_again(place, server)
        assert place.rows() == had
        assert faces.at(Home("silo", HERE)).exists(OTHER, "silo")
    assert home(place) == (HERE, "silo")


def _come_again(place: Place, server: StackServer) -> None:
    assert offboarded(place).state == "deprovisioned"
    assert kept_files(place.bench) == []
    assert server.names("pg_roles", "rolname") == set()
    place.do("tenant_restore")
