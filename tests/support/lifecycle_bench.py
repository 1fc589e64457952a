"""A world in which a tenant's lifecycles are called, failed, killed and taken up again. Not a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.engine.executor import Executor
from control_plane.engine.failpoints import Failpoints, Injected
from control_plane.handlers.registry import LIFECYCLES
from control_plane.store import tables
from graphs.gatekeeper import Gate
from server.front import Front
from tests.support.approval_template import make_world
from tests.support.approval_world import REQUESTER, TENANT, Template, World
from tests.support.house import fresh_key
from tests.support.onboarding import contact
from tests.support.standing import Standing

SUPPORT, ADMIN = "sue", "pam"


class Killed(BaseException):
    """The process died here: nothing below may catch it."""


class Striking(Failpoints):
    """Dies at one boundary, and fails at others, each once."""

    def __init__(self, kill: str = "", fail: Sequence[str] = ()) -> None:
        super().__init__()
        self._kill = kill
        self._fail = set(fail)

    def reach(self, name: str) -> None:
        """Pass a boundary, or not."""
        if name == self._kill:
            self._kill = ""
            raise Killed
        if name in self._fail:
            self._fail.remove(name)
            raise Injected("A fault was injected here.", retryable=True)


@dataclass(frozen=True)
class Onboarded:
    """A workspace with one active tenant on pooled isolation, and the stacks that stand for it."""

    template: Template
    stacks: dict[tuple[str, str], dict[str, Json]]


def onboarded(template: Template, folder: Path, gate: Gate) -> Onboarded:
    """The template after a tenant was onboarded, and support and an administrator were let in."""
    world = make_world(template, folder, gate)
    assert world.work(world.propose(isolation="pooled")).state == "applied"
    world.grant(SUPPORT, "support", actor="sue-bot")
    world.grant(ADMIN, "platform_admin", actor="pam-bot")
    world.close()
    return Onboarded(replace(template, workspace=world.workspace), dict(world.provisioner._stacks))


def make_bench(onboarded: Onboarded, folder: Path, gate: Gate) -> Bench:
    """A bench over a copy of it."""
    world = make_world(onboarded.template, folder, gate)
    world.provisioner._stacks.update(onboarded.stacks)
    return Bench(world)


@dataclass(frozen=True)
class Bench:
    """One active tenant on pooled isolation, and people who may do something about it."""

    world: World

    # calls -----------------------------------------------------------------------------------

    def ask(self, tool: str, who: str = REQUESTER, **arguments: Any) -> dict[str, Any]:
        """The answer to one call; a changing one gets a key of its own."""
        answered = self._front(who).call(tool, arguments)
        assert answered.outcome is not None, answered.bad_input
        return answered.outcome.answer()

    def bad_input(self, tool: str, who: str = REQUESTER, **arguments: Any) -> str:
        """What is wrong with the arguments of a call."""
        answered = self._front(who).call(tool, arguments)
        assert answered.outcome is None, answered.outcome
        return str(answered.bad_input)

    def _front(self, who: str) -> Front:
        world = self.world
        return Front(
            present=Standing(world.generation()),
            identify=lambda: world.caller(who),
            limits=world.settings.limits,
            failpoints=Failpoints(),
        )

    def propose(self, tool: str, who: str = REQUESTER, **arguments: Any) -> str:
        """Ask for a run; its id."""
        asked = {"tenant": TENANT, "idempotency_key": fresh_key(), **arguments}
        answered = self.ask(tool, who, **asked)
        assert answered["outcome"] == "running", answered
        return str(answered["run_id"])

    def refused(self, tool: str, who: str = REQUESTER, **arguments: Any) -> str:
        """The code with which a call is refused."""
        asked = {"tenant": TENANT, "idempotency_key": fresh_key(), **arguments}
        answered = self.ask(tool, who, **asked)
        assert answered["outcome"] == "refused", answered
        return str(answered["code"])

    # runs ------------------------------------------------------------------------------------

    def work(self, run_id: str, *fail: str) -> Run:
        """Let a worker take the run up, which fails at these boundaries; the run as it rests."""
        world = self.world
        executor = Executor(world.ports, LIFECYCLES, world.runner, Striking(fail=fail))
        executor.work(world.job(run_id))
        return world.run(run_id)

    def work_until_killed(self, run_id: str, point: str, *fail: str) -> None:
        """Let a worker take the run up that dies at a boundary."""
        world = self.world
        striking = Striking(point, fail)
        executor = Executor(world.ports, LIFECYCLES, world.runner, striking)
        try:
            executor.work(world.job(run_id))
        except Killed:
            return
        raise AssertionError(f"{point} was not reached")

    def do(self, tool: str, who: str = REQUESTER, **arguments: Any) -> Run:
        """Ask for a run, and carry it out."""
        run = self.work(self.propose(tool, who, **arguments))
        assert run.state == "applied", run
        return run

    # what stands -----------------------------------------------------------------------------

    @property
    def tenant(self) -> Tenant:
        """The tenant as it stands."""
        found = self.world.tenant()
        assert found is not None
        return found

    @property
    def standing(self) -> tuple[str, list[str], str]:
        """The tenant's state, its reasons and its access."""
        tenant = self.tenant
        return tenant.state, sorted(tenant.suspend_reasons), tenant.access_mode

    @property
    def data_epoch(self) -> int:
        """The epoch at which the store says that the database stands open."""
        table = tables.fence
        with self.world.store.read() as connection:
            found = select(table.c.data_epoch).where(table.c.tenant == TENANT)
            return int(connection.execute(found).scalar_one())

    @property
    def open_at(self) -> int | None:
        """The epoch at which the database itself stands open."""
        home = self.tenant.home
        return self.world.ports.databases.at(home).open_at(TENANT, home.isolation)

    def create(self) -> dict[str, Any]:
        """The answer to one more record."""
        return self.ask(
            "record_create",
            SUPPORT,
            tenant=TENANT,
            collection="contacts",
            values=contact(),
            idempotency_key=fresh_key(),
        )

    def query(self) -> dict[str, Any]:
        """The answer to a page of records."""
        return self.ask("record_query", SUPPORT, tenant=TENANT, collection="contacts")
