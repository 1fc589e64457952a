"""A paying tenant whom the house may ask something about: clocks ticked, runs carried out. Holds no test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from control_plane.audit.notes import LeafNotes
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.house import BILLING_HOUSE
from control_plane.domain.plans import parse_plans
from control_plane.domain.run_record import Run
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.house_clock import HouseClock
from control_plane.provisioning.port import ObservedPlan
from control_plane.provisioning.runner import never
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import rows, tables
from graphs.gatekeeper import Gate
from server.house_calls import HouseCalls
from tests.support.approval_world import RUNNABLE, TENANT, CountedProvisioner
from tests.support.lifecycle_bench import Onboarded, make_bench
from tests.support.offboarding import lift
from tests.support.paying_bench import PLANS, PayingBench, paying


class Replacing(CountedProvisioner):
    """Says of each plan that something that holds data would go."""

    def observe(
        self,
        request: StackRequest,
        *,
        destroy: bool = False,
        should_stop: Callable[[], bool] = never,
    ) -> ObservedPlan:
        """As the other, and one stateful delete."""
        seen = super().observe(request, destroy=destroy, should_stop=should_stop)
        facts = seen.facts.model_copy(update={"stateful_deletes": ("terraform_data.database",)})
        return seen.model_copy(update={"facts": facts})


@dataclass(frozen=True)
class HouseBench(PayingBench):
    """The same, with the house's own clock."""

    def clock(self, failpoints: Failpoints | None = None) -> HouseClock:
        """A house clock as a worker has it, which remembers nothing yet."""
        world = self.world
        calls = HouseCalls(world.ports, world.runner, world.keeper.bundle, RUNNABLE)
        return HouseClock(world.ports, calls, failpoints or Failpoints())

    def asks(self) -> int:
        """How many things the house asks for a moment later."""
        self.world.clock.advance(timedelta(seconds=1))
        return self.clock().step()

    def owes_for(self, days: int, *, protected: bool = False) -> None:
        """Bring the tenant so many days beyond its first declined renewal."""
        self.owing()
        if not protected:
            lift(self)
        self.later(days=days)
        self.tick()

    def pays(self) -> None:
        """Settle everything with a method that works, without waiting."""
        self.pays_with("sandbox_ok")
        for one in self.book.owed():
            self.do("payment_retry", invoice=one.id)
        assert not self.book.owed()

    def ended(self, run_id: str) -> tuple[str, str]:
        """How a run came to its end, and why, once a worker has looked at it."""
        run = self.work(run_id)
        return run.state, run.reason

    def with_places(self, places: int) -> HouseBench:
        """The same under a limit of so many questions that wait."""
        limits = replace(self.world.ports.limits, pending_approvals_max=places)
        return HouseBench(self.world.with_limits(limits), self.sandbox)

    def replacing(self) -> HouseBench:
        """The same over a provisioner whose every plan would replace what holds data."""
        provisioner = Replacing()
        provisioner._stacks.update(self.world.provisioner._stacks)
        ports = replace(self.world.ports, provisioner=provisioner)
        return HouseBench(self.world.with_ports(ports), self.sandbox)

    def jobs(self, run_id: str) -> int:
        """How many jobs wait that ask for the run to be taken up."""
        table = tables.job
        where = (table.c.run_id == run_id) & (table.c.state == "pending")
        with self.world.store.read() as connection:
            return len(connection.execute(table.select().where(where)).all())

    def answer_no(self, run: Run) -> Run:
        """The run after a human said no."""
        self.world.answer(run, "deny")
        return self.work(run.id)

    @property
    def asked(self) -> list[Run]:
        """The runs that the house has asked for, the oldest first."""
        table = tables.run
        mine = table.c.principal == BILLING_HOUSE.principal
        with self.world.store.read() as connection:
            return rows.every(connection, table, Run, mine, order_by=table.c.created_at)

    def waiting(self) -> Run:
        """The only run of the house's, once it waits for a human."""
        assert self.asks() == 1
        run = self.work(self.asked[-1].id)
        assert run.state == "awaiting_approval", run
        return run

    def worked(self) -> Run:
        """The house's newest run, carried out."""
        return self.work(self.asked[-1].id)

    def leaves(self, kind: str) -> int:
        """How many leaves of a kind there are about the tenant."""
        table = tables.audit_leaf
        where = (table.c.kind == kind) & (table.c.tenant == TENANT)
        with self.world.store.read() as connection:
            return len(connection.execute(table.select().where(where)).all())

    def told_run(self, run: Run, who: str) -> dict[str, Any]:
        """The run as a reader is told it."""
        found: dict[str, Any] = self.ask("run_get", who, run_id=run.id)["result"]
        return found


@dataclass(frozen=True)
class Scene:
    """A workspace as one bench has left it, to be copied by others: they begin at its instant."""

    onboarded: Onboarded
    sandbox: Path
    now: datetime


def scene(
    standing: Onboarded, folder: Path, gate: Gate, play: Callable[[HouseBench], None]
) -> Scene:
    """What stands after ``play``, from a tenant that was on the free plan."""
    with paying(standing, folder, gate) as made:
        bench = _heard(HouseBench(made.world, made.sandbox))
        play(bench)
        world = bench.world
        template = replace(standing.template, workspace=world.workspace)
        onboarded = Onboarded(template, dict(world.provisioner._stacks))
        return Scene(onboarded, folder / "sandbox.db", world.clock.now())


@contextmanager
def copied(begun: Scene, folder: Path, gate: Gate) -> Generator[HouseBench]:
    """A bench of its own that goes on from a scene."""
    made = make_bench(begun.onboarded, folder / "world", gate)
    shutil.copy(begun.sandbox, folder / "sandbox.db")
    sandbox = SandboxProvider(folder / "sandbox.db")
    catalog: Any = made.world.ports.catalog
    plans = parse_plans(PLANS.read_text(), "plans.yaml")
    world = made.world.with_ports(
        replace(
            made.world.ports,
            catalog=replace(catalog, plans=plans),
            payments={sandbox.name: sandbox},
        )
    )
    world.clock.advance(begun.now - world.clock.now())
    try:
        yield _heard(HouseBench(world, sandbox))
    finally:
        sandbox.close()
        world.close()


def _heard(bench: HouseBench) -> HouseBench:
    # Leaves of refusals by the clock that is turned, too: what was refused rests for a time.
    ports: Any = bench.world.ports
    notes = LeafNotes(ports.recorder, ports.store)
    return HouseBench(bench.world.with_ports(replace(ports, notes=notes)), bench.sandbox)


def indebted(bench: HouseBench) -> None:
    """The last rung has come to the tenant, and nobody protects it."""
    bench.owes_for(30)


def behind(bench: HouseBench) -> None:
    """A period is over with which a smaller plan was to come, and has."""
    bench.on("pro")
    bench.do("subscription_change", plan="team")
    bench.later(days=31)
    assert (bench.subscription["plan"], bench.tenant.plan) == ("team", "pro")
