"""Faces come and go, and so does the worker: a run goes on, and without a policy engine nothing is done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from mcp import Client
from sqlalchemy import select

from control_plane.store import tables
from server.presence import faces_open, held
from tests.conftest import MakeHouse
from tests.support.agents import call
from tests.support.house import House, Token, fresh_name
from tests.support.onboarding import ask, follow, onboarding
from tests.support.waiting import reached, until
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]
StartWorker = Callable[..., RunningWorker]


def run_for(house: House, tenant: str) -> str | None:
    """The id of the tenant's run, once it is committed."""
    table = tables.run
    with house.store() as store, store.read() as connection:
        found: str | None = connection.execute(
            select(table.c.id).where(table.c.tenant == tenant)
        ).scalar()
    return found


@pytest.mark.long
async def test_a_run_goes_on_when_its_client_gives_up_and_leaves(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("operator", (tenant := fresh_name()))

    async def committed() -> bool:
        return run_for(shared, tenant) is not None

    # The face never answers this call: it hangs after the run is committed.
    async with agent(shared, token, "--failpoints", "face.committed:1:hang") as client:
        async with anyio.create_task_group() as calls:
            calls.start_soon(client.call_tool, "tenant_onboard", onboarding(tenant))
            await reached(committed, "the run is committed")
            calls.cancel_scope.cancel()
        assert (await call(client, "whoami"))["outcome"] == "done"

    with shared.face(token) as face:
        follow(face, run_for(shared, tenant) or "", {"applied"})
        assert ask(face, "tenant_get", tenant=tenant)["result"]["state"] == "active"


async def test_a_call_that_takes_too_long_is_answered_by_what_may_stand(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("operator", (tenant := fresh_name()))
    hung = ("--failpoints", "face.committed:1:hang", "--failpoints", "face.committed:2:hang")
    async with agent(shared.with_limits(call_deadline_s="1"), token, *hung) as client:
        await client.list_tools()
        read = await call(client, "whoami")
        change = await call(client, "tenant_onboard", **(asked := onboarding(tenant)))

        async def repeated() -> bool:
            again = await call(client, "tenant_onboard", **asked)
            return again.get("run_id") == run_for(shared, tenant)

        await reached(repeated, "the repeated call tells the run")

    assert (read["outcome"], read["code"], read["retryable"]) == ("failed", "deadline", True)
    assert (change["outcome"], change["code"]) == ("unknown", "deadline")


@pytest.mark.long
async def test_without_a_worker_calls_refuse_and_with_a_new_one_they_work(
    workspace: MakeHouse, worker: StartWorker, agent: Agent
) -> None:
    house = workspace()
    token = house.issue("operator", "acme")
    first = worker(house)
    async with agent(house, token) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        first.kill()
        before = house.effects()
        for tool, arguments in (
            ("whoami", {}),
            ("tenant_onboard", onboarding("acme")),
            ("tenant_get", {"tenant": 7}),
            ("record_create", {}),
            ("nothing_of_that_name", {}),
        ):
            refused = await call(client, tool, **arguments)
            assert refused["outcome"] == "refused", refused
            assert refused["code"] == "policy_engine_unavailable", refused
        assert (await client.list_tools(cache_mode="bypass")).tools == []
        assert house.effects() == before

        worker(house)
        assert (await call(client, "whoami"))["outcome"] == "done"
        assert (await call(client, "tenant_onboard", **onboarding("acme")))["outcome"] == "running"
    with house.face(token) as face:
        follow(face, run_for(house, "acme") or "", {"applied"})


async def test_a_face_starts_the_worker_where_none_runs(workspace: MakeHouse, agent: Agent) -> None:
    house = workspace()
    assert not held(house.workspace.worker_lock)
    async with agent(house, house.issue("viewer", "acme")) as client:
        assert (await call(client, "whoami"))["outcome"] == "done"
        assert held(house.workspace.worker_lock)
        assert faces_open(house.workspace.state / "faces") == 1

    # The worker outlives the client; the face leaves no sign of life behind.
    assert held(house.workspace.worker_lock)
    until(lambda: faces_open(house.workspace.state / "faces") == 0, "the face is gone")


_LOOK = """
import json, sys
from pathlib import Path
from control_plane.engine.failpoints import Failpoints
from server import keys, wiring
from server.clock import SystemClock
from server.mcp_face import McpFace
from server.settings import read_settings
from server.stdio import serve_stdio
from server.token_source import TokenSource
from server.tokens import Identify
from server.workspace import find

settings = read_settings()
workspace = find(Path.cwd(), settings.home, settings.workspace)
public = keys.load_public(workspace.keys)

def identify(store):
    verifier = Identify(store, public.issuer_bytes, workspace.id)
    return TokenSource(verifier, SystemClock(), settings, Path(sys.argv[1])).caller

face = wiring.wire_face(workspace, settings, identify, Failpoints())
heavy = ("langgraph", "dbos", "langchain_core", "python_terraform")
listed = [tool.name for tool in face.front.listed()]
early = [name for name in heavy if name in sys.modules]
outcome = face.front.call("whoami", {}).outcome.outcome
after_a_read = [name for name in heavy if name in sys.modules]
face.warm()
late = [name for name in heavy if name in sys.modules]
face.close()
told = {"listed": listed, "early": early, "outcome": outcome, "read": after_a_read, "late": late}
json.dump(told, sys.stdout)
"""


@pytest.mark.long
def test_no_listing_or_read_waits_for_machines_and_a_face_never_loads_the_job_engine(
    shared: House, issue: Issue
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOOK, str(issue("viewer", "acme").file)],
        capture_output=True,
        cwd=shared.workspace.root,
        env=shared.environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    seen: dict[str, Any] = json.loads(done.stdout)
    assert "whoami" in seen["listed"]
    assert seen["early"] == []
    assert (seen["outcome"], seen["read"]) == ("done", [])
    # Warmed, the machines are there, and what acts is not.
    assert "langgraph" in seen["late"]
    assert not {"dbos", "python_terraform"} & set(seen["late"])
