"""What the house asks for about databases: a backup as often as the plan says, and the removal of copies whose time is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.plans import BackupTerms, PlanCatalog
from control_plane.domain.run_record import Run
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.house_clock import HouseClock
from control_plane.store import rows, tables
from server.house_calls import HouseCalls
from tests.support.approval_world import REQUESTER, RUNNABLE, TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import backups

FAR = "2999-01-01T00:00:00.000000Z"


@pytest.fixture
def daily(bench: Bench) -> Bench:
    """The bench under a catalog whose plans have tenants backed up every day."""
    bench.world.alter_grant(REQUESTER, expires_at=FAR)
    catalog: Any = bench.world.ports.catalog
    terms = BackupTerms(every_days=1, keep_days=3)
    offers = tuple(one.model_copy(update={"backups": terms}) for one in catalog.plans.plans)
    plans = PlanCatalog.model_construct(plans=offers)
    catalog = replace(catalog, plans=plans)
    return Bench(bench.world.with_ports(replace(bench.world.ports, catalog=catalog)))


def asks(bench: Bench) -> int:
    """How many things the house asks for now."""
    world = bench.world
    calls = HouseCalls(world.ports, world.runner, world.keeper.bundle, RUNNABLE)
    return HouseClock(world.ports, calls, Failpoints()).step()


def worked(bench: Bench, kind: str) -> Run:
    """The house's newest run of a kind, carried out."""
    table = tables.run
    mine = (table.c.principal == "house:billing") & (table.c.kind == kind)
    with bench.world.store.read() as connection:
        found = rows.every(connection, table, Run, mine, order_by=table.c.created_at)
    run = bench.work(found[-1].id)
    assert run.state == "applied", run
    return run


def test_a_tenant_is_backed_up_as_often_as_its_plan_says(daily: Bench) -> None:
    assert asks(daily) == 1
    run = worked(daily, "database_backup")
    assert run.tool == "database_backup"
    (made,) = backups(daily)
    assert made.verified_at is not None
    kept = daily.world.clock.now() + timedelta(days=3)
    assert made.keep_until.startswith(kept.strftime("%Y-%m-%d"))
    assert asks(daily) == 0
    daily.world.clock.advance(timedelta(days=1, seconds=1))
    assert asks(daily) == 1
    worked(daily, "database_backup")
    assert len(backups(daily)) == 2


def test_where_no_plan_says_so_nobody_is_backed_up(bench: Bench) -> None:
    assert asks(bench) == 0


def test_who_is_shut_is_not_backed_up(daily: Bench) -> None:
    daily.do("tenant_suspend", reason="operator")
    assert asks(daily) == 0


def test_a_copy_whose_time_is_over_is_removed(bench: Bench) -> None:
    bench.world.alter_grant(REQUESTER, expires_at=FAR)
    bench.do("database_clone", keep_days=2)
    assert asks(bench) == 0
    bench.world.clock.advance(timedelta(days=2, seconds=1))
    assert asks(bench) == 1
    worked(bench, "database_clone_drop")
    told = bench.ask("database_list", tenant=TENANT)["result"]["databases"]
    assert [one["purpose"] for one in told] == ["serving"]
    assert asks(bench) == 0
