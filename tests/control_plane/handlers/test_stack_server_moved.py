"""A stack's server that stands elsewhere since Terraform replaced it: not followed where rows are on the one before. Stacks in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import URL

from control_plane.domain.home import Home, stack_server
from control_plane.domain.run_record import Run
from control_plane.store.logins import Login
from server import stack_servers
from server.login_files import read_login
from server.tenant_servers import keep_logins
from server.workspace import Workspace
from tests.control_plane.handlers.test_databases_on_every_engine import Place
from tests.support.approval_world import OTHER
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import Bench, Killed
from tests.support.postgres import Postgres
from tests.support.stack_server import (
    Door,
    NamingProvisioner,
    StackServer,
    in_memory,
    kept_files,
    onboarded_run,
    placed,
)
from tests.support.stack_server import stack_server as a_stack_server
from tests.support.tenants import tenant_server

HERE = stack_server(OTHER)


class Stands(NamedTuple):
    """A bench beside a server that its silos' stacks name, and another address that they may name."""

    bench: Bench
    server: StackServer
    stacks: NamingProvisioner
    elsewhere: Door

    def names(self, door: Door) -> None:
        """From here on the stack says that its server is there."""
        self.stacks.said["database"]["port"] = door.port


@pytest.fixture
def stands(
    bench: Bench, postgres: Postgres, bare_postgres: Postgres, tmp_path: Path
) -> Iterator[Stands]:
    """The workspace's own server is another one."""
    with ExitStack() as stack:
        server = stack.enter_context(a_stack_server(bare_postgres, tmp_path))
        main = stack.enter_context(stack.enter_context(tenant_server(postgres)).engine())
        elsewhere = Door(bare_postgres.folder / ".s.PGSQL.5432")
        stack.callback(elsewhere.close)
        stacks = in_memory(server)
        made = placed(bench, server, main, stacks)
        stack.callback(made.world.ports.databases.close)
        yield Stands(made, server, stacks, elsewhere)


def moved_back(bench: Bench) -> Run:
    """A move to the stack's server that was approved, as far as it came."""
    asked = {"tenant": OTHER, "idempotency_key": fresh_key(), "isolation": "silo", "server": HERE}
    run = bench.work(bench.propose("tenant_move", **asked))
    if run.state == "awaiting_approval":
        bench.world.forge(run, seed=bench.world.template.approver_seed)
    return bench.work(run.id)


def contents(bench: Bench) -> dict[str, bytes]:
    """Every file about the stack's server, with what it says."""
    return {one.name: one.read_bytes() for one in kept_files(bench)}


def test_a_server_that_was_replaced_is_not_followed_while_rows_are_on_the_one_before(
    stands: Stands,
) -> None:
    place = Place(stands.bench, "silo")
    place.add(2)
    had = place.rows()
    place.do("tenant_move", isolation="silo", server="main")
    files = contents(stands.bench)
    stands.names(stands.elsewhere)
    run = moved_back(stands.bench)
    assert (run.state, run.reason) == ("compensated", "stack_server_moved")
    # Nobody has knocked there, and the rows are where they were, on either side.
    assert stands.elsewhere.knocks == 0
    assert contents(stands.bench) == files
    tenant = stands.bench.world.tenant(OTHER)
    assert tenant is not None
    assert (tenant.state, tenant.home) == ("active", Home("silo"))
    assert place.rows() == had
    assert place.databases()["former"]["server"] == HERE
    assert place.emails("former") == place.emails("serving") != set()
    place.add(1)
    # Once the server that was is back, the move goes through.
    stands.names(stands.server.door)
    assert moved_back(stands.bench).state == "applied"
    assert len(place.rows()) == len(had) + 1
    assert place.databases()["serving"]["server"] == HERE


@pytest.mark.sweep
def test_a_server_that_was_replaced_before_anything_stood_there_is_taken_where_it_is_now(
    stands: Stands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = onboarded_run(stands.bench)

    def dies(workspace: Workspace, name: str, logins: Mapping[Login, URL]) -> None:
        keep_logins(workspace, name, logins)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(stack_servers, "keep_logins", dies)
        with pytest.raises(Killed):
            stands.bench.work(run_id)
    stands.names(stands.elsewhere)
    assert stands.bench.work(run_id).state == "applied"
    folder = stands.bench.world.workspace.servers / HERE
    assert {read_login(folder, one).port for one in ("worker", "data")} == {stands.elsewhere.port}
    engine = stands.bench.world.ports.databases.at(Home("silo", HERE))
    assert engine.open_at(OTHER, "silo") is not None
