"""A tenant taken away and brought back over a real face, worker, policy engine and Terraform, in every model."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from typing import Any

import anyio
import pytest
from mcp import Client
from typer.testing import CliRunner

from server.cli.app import app
from server.rendering import render
from tests.support.agents import call, run_until
from tests.support.approver import approve, enrol
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import contact
from tests.support.slices import sliced

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]
MODELS = ("pooled", "bridge", "silo")
OWNER = "olga"
RUN_DEADLINE_S, POLL_S = 90.0, 0.05
ENDED = frozenset({"applied", "compensated", "failed", "discarded"})


def protection(house: House, tenant: str, *options: str) -> str:
    """What the administrator's own command says."""
    command = ["tenant", "protection", tenant, *options]
    ran = CliRunner().invoke(app, command, env=house.environment)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


async def carried_out(
    house: House, client: Client, human: Token, tool: str, tenant: str, **asked: Any
) -> dict[str, Any]:
    """Ask for a run, approve it where it waits, and follow it to its end."""
    key = fresh_key()
    answered = await call(client, tool, tenant=tenant, idempotency_key=key, **asked)
    assert answered["outcome"] == "running", answered
    run = await run_until(client, answered["run_id"])
    if run["state"] == "awaiting_approval":
        approve(house, human, run["approval_id"])
        run = await over(client, answered["run_id"])
    return run


async def over(client: Client, run_id: str) -> dict[str, Any]:
    """The run once it has ended: it may still wait when its approval was just given."""
    with anyio.fail_after(RUN_DEADLINE_S):
        while True:
            run: dict[str, Any] = (await call(client, "run_get", run_id=run_id))["result"]
            if run["state"] in ENDED:
                return run
            await anyio.sleep(POLL_S)


async def rows_of(client: Client, tenant: str) -> list[dict[str, Any]]:
    """The tenant's records, as they are read."""
    asked = {"tenant": tenant, "collection": "contacts", "sort": "full_name"}
    page = await call(client, "record_query", **asked)
    assert page["outcome"] == "done", page
    return list(page["result"]["records"])


def rows_left(house: House, tenant: str) -> int:
    """How many rows of a tenant any database on this machine holds."""
    left = 0
    for path in house.workspace.data.rglob("*.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
            for (name,) in names:
                columns = database.execute("SELECT name FROM pragma_table_info(?)", (name,))
                if ("tenant_id",) in columns.fetchall():
                    count = f'SELECT count(*) FROM "{name}" WHERE tenant_id = ?'  # noqa: S608
                    left += int(database.execute(count, (tenant,)).fetchone()[0])
    return left


def resources_left(house: House, tenant: str) -> int:
    """How many resources Terraform's states of a tenant hold."""
    texts = [
        state.read_text()
        for state in house.workspace.terraform.glob(f"{tenant}/*/terraform.tfstate")
    ]
    return sum(len(json.loads(text)["resources"]) for text in texts if text)


@pytest.mark.parametrize("isolation", sliced(MODELS))
async def test_a_tenant_goes_with_an_approval_alone_and_comes_back_with_its_records(
    shared: House, agent: Agent, issue: Issue, isolation: str
) -> None:
    tenant, owner = fresh_name(f"leaving-{isolation}"), f"{OWNER}-{isolation}"
    token = issue("operator,support", tenant, principal=owner)
    human = issue("viewer", tenant, principal=owner, actor=None)
    enrol(shared, owner)
    async with agent(shared, token) as client:
        born = {"display_name": "Leaving", "plan": "team", "isolation": isolation}
        run = await carried_out(shared, client, human, "tenant_onboard", tenant, **born)
        assert run["state"] == "applied", run
        for name in ("Ada", "Bea"):
            made = {"collection": "contacts", "values": contact(full_name=name)}
            key = fresh_key()
            done = await call(client, "record_create", tenant=tenant, idempotency_key=key, **made)
            assert done["outcome"] == "done", done
        before = await rows_of(client, tenant)
        assert len(before) == 2

        asked = {"tenant": tenant, "cancel_subscription": True}
        refused = await call(client, "tenant_offboard", **asked, idempotency_key=fresh_key())
        assert (refused["outcome"], refused["code"]) == ("refused", "deletion_protected")
        said = protection(shared, tenant, "--deletion-protection", "off")
        assert said == f"{tenant}: deletion protection off, legal hold off\n"

        answered = await call(client, "tenant_offboard", **asked, idempotency_key=fresh_key())
        waiting = await run_until(client, answered["run_id"], {"awaiting_approval"})
        assert len(await rows_of(client, tenant)) == 2
        question = approve(shared, human, waiting["approval_id"])
        assert any("records as counted: contacts 2" in line for line in render(question))
        assert (await over(client, answered["run_id"]))["state"] == "applied"
        told = (await call(client, "tenant_get", tenant=tenant))["result"]
        assert (told["state"], told["access_mode"]) == ("deprovisioned", "none")
        assert told["subscription_state"] == "canceled"
        assert rows_left(shared, tenant) == 0
        assert not list(shared.workspace.data.rglob(f"*{tenant}*"))
        assert resources_left(shared, tenant) == 0
        assert len(list((shared.workspace.backups / tenant).glob("*.archive"))) == 1

        run = await carried_out(shared, client, human, "tenant_restore", tenant)
        assert run["state"] == "applied", run
        assert await rows_of(client, tenant) == before
        told = (await call(client, "tenant_get", tenant=tenant))["result"]
        assert (told["state"], told["subscription_state"]) == ("active", "active")
        assert resources_left(shared, tenant) > 0


@pytest.mark.long
async def test_a_folder_of_backups_that_cannot_be_written_stops_it_with_nothing_destroyed(
    shared: House, agent: Agent, issue: Issue
) -> None:
    tenant, owner = fresh_name("kept"), f"{OWNER}-kept"
    token = issue("operator,support", tenant, principal=owner)
    human = issue("viewer", tenant, principal=owner, actor=None)
    enrol(shared, owner)
    # Where the tenant's archives would lie there is a file: no backup can be made.
    (shared.workspace.backups / tenant).write_text("in the way")
    async with agent(shared, token) as client:
        born = {"display_name": "Kept", "plan": "free", "isolation": "pooled"}
        await carried_out(shared, client, human, "tenant_onboard", tenant, **born)
        protection(shared, tenant, "--deletion-protection", "off")
        asked = {"cancel_subscription": True}
        run = await carried_out(shared, client, human, "tenant_offboard", tenant, **asked)
        assert run["state"] == "compensated", run
        told = (await call(client, "tenant_get", tenant=tenant))["result"]
        assert (told["state"], told["suspend_reasons"]) == ("suspended", ["operator"])
        assert resources_left(shared, tenant) > 0
        assert rows_left(shared, tenant) > 0
        (shared.workspace.backups / tenant).unlink()
        run = await carried_out(shared, client, human, "tenant_resume", tenant, reason="operator")
        assert run["state"] == "applied", run
