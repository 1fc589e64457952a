"""What a tenant has left by a move is removed: when, by whom, and with what under it; killed at every boundary."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.domain.database import Database
from control_plane.domain.home import Home
from control_plane.facts.load import tenant_row
from control_plane.handlers.database_rows import database_row
from control_plane.handlers.registry import failpoint_names
from server.protection import protect
from tests.support.approval_world import TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, Bench
from tests.support.moving import approved, databases, moves, resumed
from tests.support.offboarding import backups, found, lift, offboard, records, unvouched
from tests.support.slices import sliced

FINALISING = [one for one in failpoint_names() if one.startswith("finalise_move.")]
DROPPING = [one for one in failpoint_names() if one.startswith("database_clone_drop.")]
# The first of them always runs.
DROPPED_FIRST = sorted([*DROPPING, *FINALISING], key=lambda one: one != "finalise_move.drop.done")
KEPT = timedelta(days=7)


@pytest.fixture
def left(bench: Bench) -> Database:
    """The database that the bench's tenant has left, with two records in it."""
    records(bench, 2)
    assert resumed(bench, approved(bench, isolation="bridge")).state == "applied"
    return databases(bench)["former"]


def assert_finalised(bench: Bench, left: Database) -> None:
    """Nothing of it is there, nothing else is touched, and its row says so."""
    engine = bench.world.ports.databases.at(left.home)
    assert not engine.exists(TENANT, left.isolation)
    assert (TENANT, "pooled") not in bench.world.provisioner._stacks
    assert (TENANT, "bridge") in bench.world.provisioner._stacks
    with bench.world.store.read() as connection:
        tombstone = database_row(connection, left.id)
    assert tombstone is not None
    assert tombstone.state == "deleted"
    assert [one.state for one in moves(bench)] == ["finalised"]
    assert (bench.tenant.state, bench.tenant.home) == ("active", Home("bridge"))
    assert len(found(bench)) == 2
    assert bench.create()["outcome"] == "done"
    assert unvouched(bench) == []


def test_once_its_time_is_over_nobody_is_asked(bench: Bench, left: Database) -> None:
    bench.world.clock.advance(KEPT + timedelta(seconds=1))
    run = bench.work(bench.propose("tenant_move_finalise", database=left.id))
    assert run.state == "applied", run
    assert_finalised(bench, left)


def test_before_that_a_human_is_asked(bench: Bench, left: Database) -> None:
    run = resumed(bench, approved(bench, "tenant_move_finalise", database=left.id))
    assert run.state == "applied", run
    assert_finalised(bench, left)


@pytest.mark.long
def test_what_serves_is_not_removed(bench: Bench, left: Database) -> None:
    serving = databases(bench)["serving"]
    assert bench.refused("tenant_move_finalise", database=serving.id) == "not_former"
    assert bench.refused("tenant_move_finalise", database="0" * 32) == "not_former"


def test_it_is_removed_once(bench: Bench, left: Database) -> None:
    bench.world.clock.advance(KEPT)
    assert bench.do("tenant_move_finalise", database=left.id).state == "applied"
    assert bench.refused("tenant_move_finalise", database=left.id) == "not_former"


@pytest.mark.long
def test_a_legal_hold_keeps_it(bench: Bench, left: Database) -> None:
    bench.world.clock.advance(KEPT)
    with bench.world.store.write() as connection:
        protect(connection, bench.world.ports.recorder, TENANT, legal_hold=True)
    assert bench.refused("tenant_move_finalise", ADMIN, database=left.id) == "legal_hold"


@pytest.mark.long
def test_a_stack_that_something_stands_on_stays(bench: Bench, left: Database) -> None:
    back = resumed(bench, approved(bench, isolation="pooled"))
    assert back.state == "applied", back
    bench.world.clock.advance(KEPT)
    run = bench.work(bench.propose("tenant_move_finalise", database=left.id))
    assert run.state == "applied", run
    assert not bench.world.ports.databases.at(left.home).exists(TENANT, "pooled")
    assert (TENANT, "pooled") in bench.world.provisioner._stacks
    with bench.world.store.read() as connection:
        tenant = tenant_row(connection, TENANT)
    assert tenant is not None
    assert tenant.home == Home("pooled", slot=1)
    assert len(found(bench)) == 2


@pytest.mark.long
@pytest.mark.parametrize("suspended", [False, True])
def test_who_has_left_a_stack_is_offboarded_once_that_is_gone_and_no_stack_stays(
    bench: Bench, left: Database, suspended: bool
) -> None:
    if suspended:
        bench.do("tenant_suspend", reason="operator")
    lift(bench)
    told = bench.ask(
        "tenant_offboard", tenant=TENANT, cancel_subscription=True, idempotency_key=fresh_key()
    )
    assert (told["outcome"], told["code"]) == ("refused", "move_not_finalised")
    assert "tenant_move_finalise" in told["next_tools"]
    assert databases(bench)["former"].state == left.state
    run = resumed(bench, approved(bench, "tenant_move_finalise", database=left.id))
    assert run.state == "applied", run
    offboard(bench)
    assert [model for tenant, model in bench.world.provisioner._stacks if tenant == TENANT] == []


@pytest.mark.long
def test_an_offboarding_that_is_under_way_is_not_held_up_by_what_it_removes(bench: Bench) -> None:
    # Left on the same model, it goes with the tenant: no stack of another would stay.
    records(bench, 1)
    bench.do("database_backup")
    (made,) = backups(bench)
    restored = approved(bench, "database_restore", backup=made.id)
    assert resumed(bench, restored).state == "applied"
    assert databases(bench)["former"].isolation == bench.tenant.isolation
    offboard(bench)
    assert [model for tenant, model in bench.world.provisioner._stacks if tenant == TENANT] == []


@pytest.mark.long
def test_a_copy_on_the_stack_that_was_left_is_removed_first(bench: Bench) -> None:
    bench.do("database_clone")
    assert resumed(bench, approved(bench, isolation="bridge")).state == "applied"
    stands = databases(bench)
    run = bench.work(bench.propose("tenant_move_finalise", database=stands["former"].id))
    assert (run.state, run.reason) == ("failed", "clone_kept")
    assert databases(bench) == stands
    assert (TENANT, "pooled") in bench.world.provisioner._stacks
    bench.do("database_clone", drop=stands["clone"].id)
    last = resumed(bench, approved(bench, "tenant_move_finalise", database=stands["former"].id))
    assert last.state == "applied", last
    assert (TENANT, "pooled") not in bench.world.provisioner._stacks


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(FINALISING, every=8))
def test_a_worker_that_died_anywhere_has_another_finish_it(
    bench: Bench, left: Database, point: str
) -> None:
    bench.world.clock.advance(KEPT)
    run_id = bench.propose("tenant_move_finalise", database=left.id)
    bench.work_until_killed(run_id, point)
    assert resumed(bench, run_id).state == "applied"
    assert_finalised(bench, left)


@pytest.mark.parametrize("point", sliced(DROPPED_FIRST, every=len(DROPPED_FIRST)))
def test_a_worker_that_died_anywhere_between_the_copys_end_and_the_stacks_has_another_finish_it(
    bench: Bench, point: str
) -> None:
    records(bench, 2)
    bench.do("database_clone")
    assert resumed(bench, approved(bench, isolation="bridge")).state == "applied"
    stands = databases(bench)
    dropped = bench.propose("database_clone", drop=stands["clone"].id)
    carried(bench, dropped, point if point in DROPPING else "")
    # Of two that stood on it, one is gone, and the stack stays for the other.
    assert set(databases(bench)) == {"serving", "former"}
    assert not bench.world.ports.databases.at(stands["clone"].home).exists(TENANT, "pooled")
    assert (TENANT, "pooled") in bench.world.provisioner._stacks
    last = approved(bench, "tenant_move_finalise", database=stands["former"].id)
    carried(bench, last, "" if point in DROPPING else point)
    assert_finalised(bench, stands["former"])
    assert set(databases(bench)) == {"serving"}


def carried(bench: Bench, run_id: str, point: str) -> None:
    """A run carried out, by a second worker where the first is to die at a boundary."""
    if point:
        bench.work_until_killed(run_id, point)
    assert resumed(bench, run_id).state == "applied"
