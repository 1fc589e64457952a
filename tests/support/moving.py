"""A tenant moved on a bench: what is done at a boundary meanwhile, and what stands afterwards. Not a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain.database import Database
from control_plane.domain.move_record import TenantMove
from control_plane.domain.run_record import Run
from control_plane.engine.executor import Executor
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.database_rows import standing
from control_plane.handlers.registry import LIFECYCLES
from control_plane.store import rows
from control_plane.store.database_tables import tenant_move
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench, Striking

Act = Callable[[], object]


class Acting(Failpoints):
    """Does something the first time that a boundary is reached."""

    def __init__(self, acts: Mapping[str, Act]) -> None:
        super().__init__()
        self._acts = dict(acts)

    def reach(self, name: str) -> None:
        """Pass the boundary, once what was to be done there is done."""
        if (act := self._acts.pop(name, None)) is not None:
            act()

    @property
    def left(self) -> list[str]:
        """The boundaries that were not reached."""
        return sorted(self._acts)


def approved(bench: Bench, tool: str = "tenant_move", **asked: Any) -> str:
    """A move that was approved and not begun; its id."""
    run = bench.work(bench.propose(tool, **asked))
    assert run.state == "awaiting_approval", run
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    return run.id


def meanwhile(bench: Bench, run_id: str, acts: Mapping[str, Act]) -> Run:
    """Let a worker carry the run out, and do something at its boundaries."""
    world, acting = bench.world, Acting(acts)
    Executor(world.ports, LIFECYCLES, world.runner, acting).work(world.job(run_id))
    assert not acting.left, f"not reached: {acting.left}"
    return world.run(run_id)


def resumed(bench: Bench, run_id: str, *fail: str) -> Run:
    """Let the next worker take the run up."""
    world = bench.world
    striking = Striking(fail=fail)
    Executor(world.ports, LIFECYCLES, world.runner, striking).work(world.job(run_id))
    return world.run(run_id)


def databases(bench: Bench) -> dict[str, Database]:
    """The tenant's databases that are not deleted, by what they are there for."""
    with bench.world.store.read() as connection:
        return {one.purpose: one for one in standing(connection, bench.tenant)}


def moves(bench: Bench) -> list[TenantMove]:
    """The tenant's moves, the last one first."""
    table = tenant_move.c
    with bench.world.store.read() as connection:
        return rows.every(
            connection,
            tenant_move,
            TenantMove,
            table.tenant == TENANT,
            order_by=table.changed_at.desc(),
        )
