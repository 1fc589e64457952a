"""A masked copy of a tenant's database: what it shows, whom it serves, how long it is there, and how it goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.data.tables import collection_table
from control_plane.domain.database import Database
from control_plane.domain.home import Home
from control_plane.handlers.registry import failpoint_names
from control_plane.store import rows
from control_plane.store.database_tables import database
from tests.support.approval_world import OTHER, TENANT
from tests.support.house import fresh_key
from tests.support.lifecycle_bench import ADMIN, Bench
from tests.support.offboarding import found, offboard, parts, records, unvouched
from tests.support.slices import sliced

MAKING = [one for one in failpoint_names() if one.startswith("database_clone.")]
DROPPING = [one for one in failpoint_names() if one.startswith("database_clone_drop.")]
UNDONE = ".undo_"


def databases(bench: Bench) -> dict[str, dict[str, Any]]:
    """The tenant's databases by what they are for."""
    told = bench.ask("database_list", tenant=TENANT)["result"]["databases"]
    return {one["purpose"]: one for one in told}


def copied(bench: Bench) -> list[dict[str, Any]]:
    """The contacts in the copy."""
    told = databases(bench)["clone"]
    home = Home(told["isolation"], told["server"], told["slot"])
    table = collection_table(bench.world.ports.catalog.collections["contacts"])
    with bench.world.ports.databases.at(home).reading(TENANT, home.isolation) as connection:
        return [dict(one) for one in connection.execute(select(table)).mappings()]


def stands(bench: Bench, slot: int) -> bool:
    """Whether anything stands in one of the tenant's places."""
    home = bench.tenant.home._replace(slot=slot)
    return bench.world.ports.databases.at(home).exists(TENANT, home.isolation)


def test_a_copy_has_every_row_and_no_persons_data(bench: Bench) -> None:
    had = {one["id"]: one for one in records(bench, 3)}
    asked = {"tenant": TENANT, "collection": "contacts"}
    whole = bench.ask("record_query", ADMIN, **asked)["result"]["records"]
    emails = {one["id"]: one["email"] for one in whole}
    run = bench.do("database_clone")
    copies = {str(one["id"]): one for one in copied(bench)}
    assert set(copies) == set(had)
    for row_id, one in copies.items():
        assert one["email"] != emails[row_id]
        assert "@" in one["email"]
        assert one["full_name"] == had[row_id]["full_name"]
    told = parts(run)["clone"]
    assert (told["masked"], told["in_clear"], told["records"]) == (["pii"], [], {"contacts": 3})
    assert unvouched(bench) == []


def test_it_serves_no_call_and_is_kept_for_a_while(bench: Bench) -> None:
    records(bench, 1)
    bench.do("database_clone", keep_days=3)
    records(bench, 1)
    assert (len(found(bench)), len(copied(bench))) == (2, 1)
    told = databases(bench)
    assert (told["clone"]["slot"], told["serving"]["state"]) == (1, "available")
    until = bench.world.clock.now() + timedelta(days=3)
    assert told["clone"]["kept_until"].startswith(until.strftime("%Y-%m-%d"))
    home = bench.tenant.home._replace(slot=1)
    assert bench.world.ports.databases.at(home).open_at(TENANT, home.isolation) is None


def test_the_open_group_is_masked_too_where_that_is_asked(bench: Bench) -> None:
    (had,) = records(bench, 1)
    bench.do("database_clone", mask=["pii", "general"])
    (row,) = copied(bench)
    assert row["full_name"] != had["full_name"]


@pytest.mark.long
def test_what_would_show_a_persons_data_waits_for_another_human(bench: Bench) -> None:
    records(bench, 1)
    assert bench.refused("database_clone", mask=[]) == "group_sensitive"
    run = bench.work(bench.propose("database_clone", ADMIN, mask=[]))
    assert run.state == "awaiting_approval"
    assert parts(run)["clone"]["in_clear"] == ["pii"]
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run.id).state == "applied"
    assert len(copied(bench)) == 1


def test_a_group_that_is_not_declared_is_told(bench: Bench) -> None:
    assert bench.refused("database_clone", mask=["pii", "health"]) == "group_unknown"


@pytest.mark.long
def test_a_copy_goes_by_hand_and_nothing_else_does(bench: Bench) -> None:
    had = records(bench, 1)
    bench.do("database_clone")
    told = databases(bench)
    serving, clone = told["serving"]["database"], told["clone"]["database"]
    assert bench.refused("database_clone", drop=serving) == "not_a_clone"
    for asked in ({"tenant": TENANT, "drop": "f" * 32}, {"tenant": OTHER, "drop": clone}):
        answered = bench.ask("database_clone", idempotency_key=fresh_key(), **asked)
        assert answered["outcome"] == "not_found"
    bench.do("database_clone", drop=clone)
    assert list(databases(bench)) == ["serving"]
    assert (stands(bench, 1), stands(bench, 0), found(bench)) == (False, True, had)
    assert unvouched(bench) == []
    bench.do("database_clone")
    assert databases(bench)["clone"]["slot"] == 1


@pytest.mark.long
def test_a_tenant_that_goes_takes_its_copies_with_it(bench: Bench) -> None:
    bench.do("database_clone")
    offboard(bench)
    assert (stands(bench, 0), stands(bench, 1)) == (False, False)


def test_no_more_stand_than_there_are_places(bench: Bench) -> None:
    with bench.world.store.write() as connection:
        for slot in range(1, 10):
            made = Database(
                id=f"{slot:032x}",
                tenant=TENANT,
                server="main",
                isolation="pooled",
                slot=slot,
                purpose="clone",
                state="available",
                run_id="0" * 32,
                made_at="",
                changed_at="",
            )
            rows.put(connection, database, made)
    run = bench.work(bench.propose("database_clone"))
    assert (run.state, "place" in run.detail) == ("failed", True)
    assert databases(bench)["serving"]["state"] == "available"


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced([one for one in MAKING if UNDONE not in one], every=9))
def test_one_that_was_killed_is_finished_by_the_next_worker(bench: Bench, point: str) -> None:
    records(bench, 2)
    run_id = bench.propose("database_clone")
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert (len(copied(bench)), unvouched(bench)) == (2, [])


@pytest.mark.parametrize("point", sliced([one for one in MAKING if UNDONE in one], every=6))
def test_one_that_failed_leaves_nothing_beside_it(bench: Bench, point: str) -> None:
    had = records(bench, 1)
    run_id = bench.propose("database_clone")
    bench.work_until_killed(run_id, point, "database_clone.finish.before")
    assert bench.work(run_id).state == "compensated"
    assert (list(databases(bench)), stands(bench, 1), found(bench)) == (["serving"], False, had)
    assert databases(bench)["serving"]["state"] == "available"
    assert bench.create()["outcome"] == "done"
    assert unvouched(bench) == []


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(DROPPING, every=6))
def test_a_drop_that_was_killed_is_finished_by_the_next_worker(bench: Bench, point: str) -> None:
    bench.do("database_clone")
    run_id = bench.propose("database_clone", drop=databases(bench)["clone"]["database"])
    bench.work_until_killed(run_id, point)
    assert bench.work(run_id).state == "applied"
    assert (list(databases(bench)), stands(bench, 1)) == (["serving"], False)
