"""What the house has put right by itself: only where it is let to, one at a time, and nothing that would go without a human."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane.audit.notes import LeafNotes
from control_plane.domain.canonical import instant
from control_plane.domain.house import BILLING_HOUSE
from control_plane.domain.run_record import Run
from control_plane.engine.failpoints import HOUSE_BOUNDARIES, Failpoints
from control_plane.engine.house_clock import HouseClock
from control_plane.store import rows, tables
from control_plane.store.billing_tables import billing_account
from control_plane.store.infrastructure_tables import stack
from policies.gate import Gate
from server.house_calls import HouseCalls
from tests.control_plane.handlers.test_drift import KEY, meddle, stands
from tests.support.approval_world import APPROVER, OTHER, RUNNABLE, TENANT
from tests.support.freezing import ROOT, freeze, let_in, lift
from tests.support.house_bench import Replacing
from tests.support.lifecycle_bench import Bench, Killed, Onboarded, Striking, make_bench
from tests.support.offboarding import parts

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Repairing(Bench):
    """The same, with a house clock."""

    def asks(self, *, repairs: bool = True, failpoints: Failpoints | None = None) -> int:
        """How many things the house asks for a moment later."""
        world = self.world
        world.clock.advance(timedelta(seconds=1))
        calls = HouseCalls(world.ports, world.runner, world.keeper.bundle, RUNNABLE)
        clock = HouseClock(world.ports, calls, failpoints or Failpoints(), repairs=repairs)
        return clock.step()

    @property
    def asked(self) -> list[Run]:
        """The runs that the house has asked for, the oldest first."""
        table = tables.run
        mine = table.c.principal == BILLING_HOUSE.principal
        with self.world.store.read() as connection:
            return rows.every(connection, table, Run, mine, order_by=table.c.created_at)

    def drifts(self) -> None:
        """Somebody changes the stack past us, and a look finds it."""
        meddle(self)
        self.do("drift_check")

    def replacing(self) -> Repairing:
        """The same over a provisioner whose every plan would replace what holds data."""
        provisioner = Replacing()
        provisioner._stacks.update(self.world.provisioner._stacks)
        ports = replace(self.world.ports, provisioner=provisioner)
        return Repairing(self.world.with_ports(ports))


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Repairing]:
    """One active tenant, whose refusals are written down by the clock that is turned."""
    world = make_bench(standing, tmp_path / "world", gate).world
    ports: Any = world.ports
    notes = LeafNotes(ports.recorder, ports.store)
    yield Repairing(world.with_ports(replace(ports, notes=notes)))
    world.close()


def test_what_a_look_has_found_is_put_right_and_why_is_told(bench: Repairing) -> None:
    asked_for = dict(bench.world.provisioner._stacks[KEY])
    bench.drifts()
    found_at = stands(bench)["checked_at"]
    assert bench.asks() == 1
    (run,) = bench.asked
    assert (run.kind, run.principal, run.reason) == (
        "drift_repair",
        "house:billing",
        "stack_drifted",
    )
    run = bench.work(run.id)
    assert run.state == "applied"
    assert parts(run)["cause"] == {
        "reason": "stack_drifted",
        "told": f"The look of {found_at} found 1 resources otherwise than applied.",
    }
    assert bench.world.provisioner._stacks[KEY] == asked_for
    assert (stands(bench)["state"], bench.asks()) == ("stands", 0)


def test_unless_it_is_let_to_the_house_repairs_nothing(bench: Repairing) -> None:
    bench.drifts()
    assert (bench.asks(repairs=False), bench.asked) == (0, [])


def test_what_nobody_has_found_is_not_repaired(bench: Repairing) -> None:
    meddle(bench)
    assert bench.asks() == 0


def test_what_would_take_something_away_waits_for_another_human(bench: Repairing) -> None:
    bench.drifts()
    heavy = bench.replacing()
    assert heavy.asks() == 1
    run = heavy.work(heavy.asked[-1].id)
    assert run.state == "awaiting_approval"
    assert heavy.world.approval(run).rule == "two_people"
    assert heavy.asks() == 0
    heavy.world.answer(run, by=heavy.world.caller(APPROVER))
    assert heavy.work(run.id).state == "applied"


def test_a_humans_no_holds_for_a_day(bench: Repairing) -> None:
    bench.drifts()
    heavy = bench.replacing()
    assert heavy.asks() == 1
    run = heavy.work(heavy.asked[-1].id)
    heavy.world.answer(run, "deny", by=heavy.world.caller(APPROVER))
    assert heavy.work(run.id).state == "discarded"
    heavy.world.clock.advance(DAY - timedelta(minutes=1))
    assert heavy.asks() == 0
    heavy.world.clock.advance(timedelta(minutes=1))
    assert heavy.asks() == 1


def test_its_question_stands_though_the_house_may_ask_no_more(bench: Repairing) -> None:
    bench.drifts()
    heavy = bench.replacing()
    heavy.asks()
    run = heavy.work(heavy.asked[-1].id)
    before = jobs(heavy, run)
    assert heavy.asks(repairs=False) == 0
    assert jobs(heavy, run) == before
    assert heavy.world.run(run.id).state == "awaiting_approval"


def jobs(bench: Bench, run: Run) -> int:
    """How many jobs there were for a run."""
    table = tables.job
    with bench.world.store.read() as connection:
        return len(connection.execute(table.select().where(table.c.run_id == run.id)).all())


def drifted_too(bench: Bench, name: str) -> None:
    """Another tenant whose stack has drifted."""
    found = {"address": "terraform_data.database", "actions": ["update"], "attributes": ["size"]}
    bench.world.put_tenant(name, state="active", isolation="pooled", access_mode="full")
    with bench.world.store.write() as connection:
        one = connection.execute(stack.select().where(stack.c.tenant == TENANT)).mappings().one()
        now = instant(bench.world.clock.now())
        values = {"tenant": name, "state": "drifted", "drift": {"resources": [found]}}
        connection.execute(stack.insert().values({**one, **values, "checked_at": now}))


@pytest.mark.long
def test_of_several_that_drifted_one_is_repaired_at_a_time(bench: Repairing) -> None:
    bench.drifts()
    drifted_too(bench, OTHER)
    assert bench.asks() == 1
    assert bench.asks() == 0
    assert bench.work(bench.asked[-1].id).state == "applied"
    assert bench.asks() == 1
    assert {one.tenant for one in bench.asked} == {TENANT, OTHER}


def test_who_owes_is_not_asked_for_again_for_a_day(bench: Repairing) -> None:
    bench.drifts()
    owing = [{"at": instant(bench.world.clock.now()), "level": "no_new_resources"}]
    account: dict[str, Any] = {"collection_paused": False, "never_suspend": False, "running": []}
    with bench.world.store.write() as connection:
        connection.execute(billing_account.insert().values(tenant=TENANT, gates=owing, **account))
    assert (bench.asks(), bench.asked) == (1, [])
    assert bench.asks() == 0
    bench.world.clock.advance(DAY)
    assert bench.asks() == 1


def test_nothing_is_asked_for_while_it_is_frozen(bench: Repairing) -> None:
    let_in(bench.world, ROOT, "platform_admin")
    bench.drifts()
    for of in ({}, {"tenant": TENANT}, {"cloud": "local"}):
        freeze(bench.world, **of)
        assert bench.asks() == 0
        lift(bench.world, **of)
    freeze(bench.world, cloud="aws")
    assert bench.asks() == 1


@pytest.mark.parametrize("point", HOUSE_BOUNDARIES)
def test_a_house_that_dies_while_it_asks_asks_once(bench: Repairing, point: str) -> None:
    bench.drifts()
    with pytest.raises(Killed):
        bench.asks(failpoints=Striking(point))
    bench.asks()
    assert len(bench.asked) == 1
