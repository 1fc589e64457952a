"""What goes wrong with the server that a silo's stack makes: each fault is named, and leaves nothing. Real Postgres, stacks in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.home import Home, stack_server
from control_plane.domain.run_record import Run
from control_plane.errors import BadInput, Unavailable
from control_plane.provisioning.stack_database import StackDatabase
from control_plane.provisioning.stacks import StackRequest
from server import stack_servers
from server.login_files import read_login
from server.protection import protect
from server.tenant_servers import undeclare
from tests.support.approval_world import OTHER
from tests.support.lifecycle_bench import Bench, Killed
from tests.support.postgres import Postgres
from tests.support.stack_server import (
    SECRET,
    NamingProvisioner,
    StackServer,
    in_memory,
    kept_files,
    onboarded_run,
    placed,
)
from tests.support.stack_server import stack_server as a_stack_server

HERE = stack_server(OTHER)
BOUNDARIES = (
    "onboard.provision.recorded",
    "onboard.database.dispatched",
    "onboard.database.done",
    "onboard.database.recorded",
)


@pytest.fixture
def server(bare_postgres: Postgres, tmp_path: Path) -> Iterator[StackServer]:
    """A server that the stack names."""
    with a_stack_server(bare_postgres, tmp_path) as made:
        yield made


Place = Callable[..., Bench]


@pytest.fixture
def place(bench: Bench, server: StackServer) -> Iterator[Place]:
    """Makes the bench whose silo stacks say what is given, and whose place is declared as given."""
    made: list[Bench] = []

    def make(provisioner: NamingProvisioner | None = None, **declared: Any) -> Bench:
        main = SqliteDatabases(bench.world.workspace.data, busy_timeout_ms=2_000)
        stacks = provisioner or in_memory(server)
        made.append(placed(bench, server, main, stacks, **declared))
        return made[-1]

    yield make
    for one in made:
        one.world.ports.databases.close()


def onboarded(bench: Bench) -> Run:
    """A silo tenant, as far as it came."""
    return bench.work(onboarded_run(bench))


def assert_nothing_is_left(bench: Bench, server: StackServer) -> None:
    """No file, no login, no database and no stack of the tenant."""
    assert kept_files(bench) == []
    assert server.names("pg_roles", "rolname") == set()
    assert server.names("pg_database", "datname") == set()
    provisioner = bench.world.ports.provisioner
    assert isinstance(provisioner, NamingProvisioner)
    assert (OTHER, "silo") not in provisioner._stacks


def offboarding(bench: Bench) -> str:
    """An approved offboarding of the tenant; its run."""
    world = bench.world
    with world.store.write() as connection:
        protect(connection, world.ports.recorder, OTHER, deletion_protection=False)
    run = bench.work(bench.propose("tenant_offboard", tenant=OTHER, cancel_subscription=True))
    world.forge(run, seed=world.template.approver_seed)
    return run.id


# The server ----------------------------------------------------------------------------------


def test_a_server_that_answers_late_is_waited_for(place: Place, server: StackServer) -> None:
    server.door.opens_after = 1
    assert onboarded(place(answer_within_s=30)).state == "applied"
    assert server.door.knocks > 1


@pytest.mark.long
def test_a_server_that_never_answers_is_given_up_in_time_and_can_be_tried_again(
    place: Place, server: StackServer
) -> None:
    server.door.opens_after = 1_000_000
    bench = place(answer_within_s=1)
    run = onboarded(bench)
    assert (run.state, run.reason, run.retryable) == ("compensated", "stack_server_silent", True)
    assert_nothing_is_left(bench, server)
    server.door.opens_after = 0
    assert onboarded(bench).state == "applied"
    assert bench.world.ports.databases.at(Home("silo", HERE)).exists(OTHER, "silo")


@pytest.mark.sweep
def test_a_server_without_encryption_is_not_entered_where_that_is_asked_for(
    place: Place, server: StackServer
) -> None:
    bench = place(answer_within_s=1, tls="require")
    run = onboarded(bench)
    assert (run.state, run.reason) == ("compensated", "stack_server_silent")
    assert_nothing_is_left(bench, server)


@pytest.mark.long
def test_a_server_that_another_tenants_stack_names_too_is_not_shared(
    place: Place, server: StackServer
) -> None:
    bench = place()
    ports = bench.world.ports
    assert onboarded(bench).state == "applied"
    before = server.names("pg_roles", "rolname"), kept_files(bench)
    assert ports.stack_servers is not None
    named = StackDatabase.model_validate(in_memory(server).said["database"])
    other = StackRequest(
        tenant="umbra",
        run_id="run-1",
        cloud="local",
        isolation="silo",
        plan="team",
        region="local",
    )
    with pytest.raises(Unavailable) as told:
        ports.stack_servers.adopt(other, named, lambda: False, anew=True)
    assert told.value.code == "postgres_taken"
    # What was begun there is given up, and nothing of the first tenant's with it.
    ports.stack_servers.leave("umbra")
    assert (server.names("pg_roles", "rolname"), kept_files(bench)) == before
    assert ports.databases.at(Home("silo", HERE)).exists(OTHER, "silo")


# The secret ----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_wrong_secret_is_not_waited_with_and_told_without_a_word_of_it(
    place: Place, server: StackServer
) -> None:
    server.write_secret(password="wr0ng-pl4nted")
    bench = place(answer_within_s=1_800)
    run = onboarded(bench)
    assert (run.state, run.reason) == ("compensated", "stack_login_refused")
    assert "wr0ng" not in f"{run.detail}{run.plan}"
    assert_nothing_is_left(bench, server)


def _removed(path: Path) -> None:
    path.unlink()


def _of_another_form(path: Path) -> None:
    path.write_text('{"user": "x"}')


def _open_to_others(path: Path) -> None:
    path.chmod(0o640)


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("spoil", [_removed, _of_another_form, _open_to_others])
def test_a_secret_that_cannot_be_had_is_named(
    place: Place, server: StackServer, spoil: Callable[[Path], object]
) -> None:
    spoil(server.secrets / SECRET)
    bench = place()
    run = onboarded(bench)
    assert (run.state, run.reason) == ("compensated", "stack_login_missing")
    assert_nothing_is_left(bench, server)


def test_what_the_stack_says_is_refused_by_field_and_not_by_value(
    place: Place, server: StackServer
) -> None:
    bench = place(in_memory(server, port="pl4nted"))
    run = onboarded(bench)
    assert (run.state, run.reason) == ("compensated", "stack_output")
    assert "database.port" in run.detail
    assert "pl4nted" not in run.detail
    assert_nothing_is_left(bench, server)


# Kills ---------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.slice_of(4)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_worker_that_dies_at_a_boundary_is_followed_by_one_that_ends_it(
    place: Place, server: StackServer, boundary: str
) -> None:
    bench = place()
    run_id = onboarded_run(bench)
    bench.work_until_killed(run_id, boundary)
    assert bench.work(run_id).state == "applied"
    assert_stands(bench, server)


@pytest.mark.long
@pytest.mark.slice_of(4)
@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize(
    "deed", ["control_plane.store.logins.adopt_for_tenants", "server.stack_servers.keep_logins"]
)
def test_a_worker_that_dies_within_the_adoption_is_followed_by_one_that_ends_it(
    place: Place, server: StackServer, monkeypatch: pytest.MonkeyPatch, deed: str, before: bool
) -> None:
    bench = place()
    run_id = onboarded_run(bench)
    with monkeypatch.context() as patched:
        _kill_at(patched, deed, before=before)
        with pytest.raises(Killed):
            bench.work(run_id)
    assert bench.work(run_id).state == "applied"
    assert_stands(bench, server)


@pytest.mark.long
@pytest.mark.slice_of(2)
@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
def test_a_worker_that_dies_while_it_leaves_the_server_is_followed_by_one_that_ends_it(
    place: Place, server: StackServer, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    bench = place()
    assert onboarded(bench).state == "applied"
    run_id = offboarding(bench)
    with monkeypatch.context() as patched:
        _kill_at(patched, "control_plane.store.logins.remove_for_tenants", before=before)
        with pytest.raises(Killed):
            bench.work(run_id)
    assert bench.work(run_id).state == "applied"
    assert kept_files(bench) == []
    # Not removed in time, the logins go with the server; nobody knows their passwords any more.
    assert (server.names("pg_roles", "rolname") == set()) is not before


@pytest.mark.long
def test_what_fails_behind_the_adoption_takes_it_back(place: Place, server: StackServer) -> None:
    bench = place()
    run = bench.work(onboarded_run(bench), "onboard.verify.before")
    assert run.state == "compensated"
    assert_nothing_is_left(bench, server)


# The end -------------------------------------------------------------------------------------


def test_a_tenant_that_never_came_to_its_server_can_be_taken_away(
    place: Place, server: StackServer
) -> None:
    bench = place()
    run = bench.work(onboarded_run(bench), "onboard.provision.before")
    assert run.state == "compensated"
    assert bench.work(offboarding(bench)).state == "applied"
    assert_nothing_is_left(bench, server)


@pytest.mark.sweep
def test_a_server_on_which_a_database_stands_is_not_forgotten(
    place: Place, server: StackServer
) -> None:
    bench = place()
    assert onboarded(bench).state == "applied"
    engine = bench.world.ports.databases.at(Home("silo", HERE, 3))
    engine.create("umbra", "silo", (), 1)
    kept = kept_files(bench)
    run = bench.work(offboarding(bench))
    assert run.state != "applied"
    assert "database_remains" in f"{run.reason} {run.detail}"
    assert kept_files(bench) == kept
    engine.drop("umbra", "silo", 2)
    assert bench.work(offboarding(bench)).state == "applied"
    assert_nothing_is_left(bench, server)


@pytest.mark.long
def test_it_is_its_tenants_alone_and_lost_files_do_not_pass_for_a_server_where_nothing_stands(
    place: Place,
) -> None:
    bench = place()
    assert onboarded(bench).state == "applied"
    for asked in (
        {"isolation": "silo"},
        {"isolation": "bridge"},
        {"isolation": "bridge", "tenant": OTHER},
    ):
        assert bench.refused("tenant_move", server=HERE, **asked) == "server_unknown"
    workspace = bench.world.workspace
    with pytest.raises(BadInput):
        undeclare(workspace, HERE, read_login(workspace.servers / HERE, "worker"), 0)
    servers = workspace.servers
    (servers / HERE).rename(servers / ".elsewhere")
    for _ in range(2):
        with pytest.raises(Unavailable) as told:
            bench.world.ports.databases.at(Home("silo", HERE))
        assert told.value.code == "server_unknown"
        # Nor on a machine that never had any of it: the rows know.
        (servers / f".{HERE}.json").unlink(missing_ok=True)


def test_a_workspace_that_declares_no_place_keeps_its_silos_with_itself(
    bench: Bench, server: StackServer
) -> None:
    assert onboarded(bench).state == "applied"
    tenant = bench.world.tenant(OTHER)
    assert tenant is not None
    assert tenant.home == Home("silo")
    assert server.door.knocks == 0


def assert_stands(bench: Bench, server: StackServer) -> None:
    """One set of logins, kept and let in; the tenant's database there, open."""
    assert len(kept_files(bench)) == 3
    assert len([one for one in server.names("pg_roles", "rolname") if "paybill_" in one]) == 2
    engine = bench.world.ports.databases.at(Home("silo", HERE))
    assert engine.open_at(OTHER, "silo") is not None


def _kill_at(patched: pytest.MonkeyPatch, deed: str, *, before: bool) -> None:
    module, name = deed.rsplit(".", 1)
    owner: Any = stack_servers if module == "server.stack_servers" else _logins()
    really = getattr(owner, name)

    def dies(*given: Any) -> Any:
        if not before:
            really(*given)
        raise Killed

    patched.setattr(owner, name, dies)


def _logins() -> Any:
    from control_plane.store import logins

    return logins
