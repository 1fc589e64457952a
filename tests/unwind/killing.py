"""One case carried out: a process killed at a boundary, another that brings the run to its end, a look at all. Not the list."""

from __future__ import annotations

import signal

import pytest

from control_plane.domain.tenant import TENANT
from tests.support.agents import connected
from tests.support.workers import running_worker
from tests.unwind.cases import Case
from tests.unwind.lifecycles import DESCRIBED, assert_changed, expected
from tests.unwind.site import Site
from tests.unwind.standing import look
from tests.unwind.stock import Prepared, Stock


def kill_worker(site: Site, stock: Stock, case: Case) -> None:
    """Kill the worker at the case's boundary; a healthy one goes on, and what stands is right."""
    prepared = stock.take(case.kind, case.model)
    run_id = _propose_to_victim(site, case, prepared.tenant)
    with running_worker(site.house, *site.worker_options()):
        site.follow(run_id)
        _check(site, case, prepared, run_id)
        stock.give(case, prepared)


def _propose_to_victim(site: Site, case: Case, tenant: str) -> str:
    described = DESCRIBED[case.kind]
    armed = [f"{case.point}:1:kill", *([described.fault] if case.undoes else [])]
    with running_worker(site.house, *site.worker_options(*armed)) as victim:

        def died() -> bool:
            return victim.process.poll() is not None

        run_id = site.propose(described.asked(tenant, case.model))
        run = site.follow(run_id, died)
        assert died(), f"{case.point} was not reached: {run}"
        assert victim.process.returncode == -signal.SIGKILL
    return run_id


async def kill_face(site: Site, stock: Stock, case: Case) -> None:
    """Kill the face at the case's boundary; the call made again finds the one run there is."""
    prepared = stock.take(case.kind, case.model)
    asked = DESCRIBED[case.kind].asked(prepared.tenant, case.model)
    with running_worker(site.house, *site.worker_options()):
        armed = ("--failpoints", f"{case.point}:1:kill")
        with pytest.raises(Exception, match=r"(?i)closed|unhandled errors"):
            async with connected(site.house, site.agent, *armed) as client:
                await client.call_tool(asked.tool, dict(asked.arguments))
        async with connected(site.house, site.agent) as client:
            await client.call_tool(asked.tool, dict(asked.arguments))
        (run,) = site.runs_of(prepared.tenant, case.kind)
        site.follow(run.id)
        _check(site, case, prepared, run.id)
        stock.give(case, prepared)


def _check(site: Site, case: Case, prepared: Prepared, run_id: str) -> None:
    """One run, one effect, no orphan, a stable tenant, and an audit log that vouches for its rows."""
    run = site.run(run_id)
    assert run.state == ("compensated" if case.undoes else "applied"), run
    assert [one.id for one in site.runs_of(prepared.tenant, case.kind)] == [run_id]
    standing = look(site, prepared.tenant, case.model)
    assert standing.state in TENANT.stable
    data = prepared.data
    if case.kind == "change_records":
        data = standing.data
        assert_changed(prepared.data, data, undone=case.undoes)
    assert standing == expected(case.kind, case.store, case.model, data, undone=case.undoes)
    assert site.vouched(prepared.tenant), "a row is not as its last leaf says"
