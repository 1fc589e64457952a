"""A worker or face killed at any boundary of onboarding, then restarted: one effect, no orphan, a stable tenant."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from control_plane.domain.tenant import TENANT
from control_plane.engine.failpoints import FACE_BOUNDARIES
from control_plane.facts.load import approval_row
from control_plane.handlers.registry import failpoint_names
from tests.support.agents import connected
from tests.support.waiting import until
from tests.support.workers import running_worker

if TYPE_CHECKING:
    from tests.unwind.conftest import Site

MODELS = ("pooled", "silo")
# A step that fails makes the run compensate, so that the boundaries of undoing are reached.
FAILING = "onboard.activate.before:1:raise"
ENDED = frozenset({"applied", "compensated", "failed", "canceled", "discarded"})
AT_REST = ENDED | {"awaiting_approval"}
RUN_S = 90.0
# The shipped stack's resources, and the one that the tests' copy adds.
RESOURCES = {"pooled": 2, "silo": 3}
# The other lifecycles are killed in tests/control_plane/handlers.
WORKER_POINTS = [name for name in failpoint_names() if name.startswith(("run.", "onboard."))]
# One of each class: planning, deciding, an inside step, each boundary of an outside one, undoing.
SLICE = [
    ("run.observed", "pooled"),
    ("run.started", "silo"),
    ("onboard.provision.dispatched", "pooled"),
    ("onboard.provision.done", "silo"),
    ("onboard.activate.inside", "pooled"),
    ("onboard.provision.undo_done", "pooled"),
]


def undoing(point: str) -> bool:
    return ".undo_" in point or point == "run.compensating"


def tenant_for(point: str, model: str) -> str:
    return f"{point.replace('.', '-').replace('_', '-')}-{model}"[-39:].strip("-")


def kill_worker_at(site: Site, point: str, model: str, tenant: str) -> str:
    """Onboard with a worker that dies at the boundary; the run."""
    armed = [f"{point}:1:kill", *([FAILING] if undoing(point) else [])]
    with running_worker(site.house, *site.worker_options(*armed)) as victim:
        run_id = site.onboard(tenant, model).run_id
        assert run_id is not None
        if model == "silo":
            until(
                lambda: victim.process.poll() is not None or site.run(run_id).state in AT_REST,
                "the run waits, or the worker died",
                RUN_S,
            )
            if victim.process.poll() is None:
                site.approve(str(site.run(run_id).approval_id))
        until(lambda: victim.process.poll() is not None, "the worker died", RUN_S)
        assert victim.process.returncode == -signal.SIGKILL, f"{point} was not reached"
    return run_id


def finish(site: Site, point: str, run_id: str) -> None:
    """Start another worker, and let it bring the run to its end."""
    again = [FAILING] if undoing(point) else []
    with running_worker(site.house, *site.worker_options(*again)):
        until(lambda: site.run(run_id).state in AT_REST, "the run comes to rest", RUN_S)
        run = site.run(run_id)
        if run.state == "awaiting_approval":
            if approval_state(site, str(run.approval_id)) == "pending":
                site.approve(str(run.approval_id))
            until(lambda: site.run(run_id).state in ENDED, "the run ends", RUN_S)


def approval_state(site: Site, approval_id: str) -> str:
    with site.house.store() as store, store.read() as connection:
        found = approval_row(connection, approval_id)
    assert found is not None
    return found.state


def check(site: Site, tenant: str, run_id: str, *, model: str, undone: bool) -> None:
    """One effect, no orphan, a stable tenant, and an audit log that vouches for its rows."""
    run, standing = site.run(run_id), site.tenant(tenant)
    assert site.vouched(), "a row is not as its last leaf says"
    assert standing is not None
    assert standing.state in TENANT.stable
    if undone:
        assert (run.state, standing.state) == ("compensated", "provision_failed")
        assert site.terraform_resources(tenant) == 0, "an orphan is left"
    else:
        assert (run.state, standing.state) == ("applied", "active")
        assert site.terraform_resources(tenant) == RESOURCES[model]
    assert site.effects_of(tenant) == 1
    assert len(site.runs_of(tenant)) == 1


def kill_and_finish(site: Site, point: str, model: str) -> None:
    tenant = tenant_for(point, model)
    run_id = kill_worker_at(site, point, model, tenant)
    finish(site, point, run_id)
    check(site, tenant, run_id, model=model, undone=undoing(point))


@pytest.mark.parametrize(("point", "model"), SLICE)
def test_a_worker_killed_at_one_boundary_of_each_class_finishes_once(
    site: Site, point: str, model: str
) -> None:
    kill_and_finish(site, point, model)


@pytest.mark.sweep
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_worker_killed_at_every_boundary_finishes_once(
    site: Site, point: str, model: str
) -> None:
    kill_and_finish(site, point, model)


@pytest.mark.anyio
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("point", FACE_BOUNDARIES)
async def test_a_face_killed_at_any_boundary_leaves_one_run_that_a_repeat_finds(
    site: Site, point: str, model: str
) -> None:
    tenant = tenant_for(point, model)
    asked = site.arguments(tenant, model)
    with running_worker(site.house, *site.worker_options()):
        with pytest.raises(Exception, match=r"(?i)closed|unhandled errors"):
            async with connected(
                site.house, site.agent, "--failpoints", f"{point}:1:kill"
            ) as client:
                await client.call_tool("tenant_onboard", dict(asked))
        async with connected(site.house, site.agent) as client:
            await client.call_tool("tenant_onboard", dict(asked))
        (run,) = site.runs_of(tenant)
        until(lambda: site.run(run.id).state in AT_REST, "the run comes to rest", RUN_S)
        if model == "silo":
            site.approve(str(site.run(run.id).approval_id))
        until(lambda: site.run(run.id).state in ENDED, "the run ends", RUN_S)
    check(site, tenant, run.id, model=model, undone=False)
