"""Freezing runs in a world of a test's own, by the way of every call. Holds no test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.domain.canonical import Json
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.memory import InlineEngine
from control_plane.handlers.freezes import Freeze, freezes
from server import grants
from server.freezing import TOOL, change
from server.front import Front
from server.generations import Generation
from server.ids import RandomIds
from server.intake import Intake
from tests.support.approval_world import World
from tests.support.standing import Standing
from tools.operator_tools import OPERATOR_TOOLS

ROOT = "rita"


def let_in(
    world: World, who: str, roles: str, *, tenants: str = "*", actor: str | None = None
) -> None:
    """A grant; without an actor, a human's own."""
    asked = grants.parse_new_grant(
        principal=who, actor=actor, roles=roles, tenants=tenants, ttl="30d"
    )
    with world.store.write() as connection:
        grant = asked.grant(RandomIds().new(), world.clock.now())
        grants.keep(connection, grant, world.ports.recorder)


def front(world: World, who: str) -> Front:
    """What the command line asks, for a person's only grant."""
    tools = {TOOL: OPERATOR_TOOLS[TOOL]}
    generation = Generation(world.ports, tools, world.keeper, lambda: world.runner)
    return Front(
        present=Standing(generation),
        identify=lambda: world.caller(who),
        limits=world.settings.limits,
        failpoints=Failpoints(),
    )


def ask(
    world: World, on: bool, who: str = ROOT, *, reason: str = "An outage.", **of: str
) -> dict[str, Any]:
    """The answer to one freeze, or to lifting it; ``of`` names a tenant or a cloud, or nothing."""
    asked = {"tenant": None, "cloud": None, **of}
    answered = change(front(world, who), on=on, reason=reason, **asked)
    return dict(answered.answer())


def freeze(world: World, **of: str) -> Mapping[str, Json]:
    """It is set; what is told of it."""
    told = ask(world, True, **of)
    assert told["outcome"] == "done", told
    return dict(told["result"])


def lift(world: World, **of: str) -> Mapping[str, Json]:
    """It is lifted; what is told of it."""
    told = ask(world, False, **of)
    assert told["outcome"] == "done", told
    return dict(told["result"])


def in_force(world: World) -> tuple[Freeze, ...]:
    """Every one."""
    with world.store.read() as connection:
        return freezes(connection)


def swept(world: World) -> int:
    """How many runs the worker's clock takes up now."""
    return Intake(world.ports, InlineEngine()).sweep()
