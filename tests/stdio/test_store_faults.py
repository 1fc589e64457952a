"""A store that is locked or full: the call says so, leaves nothing half done, and the next one works."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from typing import Any

import pytest
from mcp import Client
from sqlalchemy import event

from control_plane.commands import CreateRecord
from control_plane.handlers.registry import CHANGES
from control_plane.store.sqlite import SqliteStore
from server.wiring import Face
from tests.support.agents import call
from tests.support.house import House, Token, fresh_key, fresh_name
from tests.support.onboarding import ask, contact, follow, onboarding

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
Issue = Callable[..., Token]

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA busy_timeout=10000")
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(house: House) -> Generator[None]:
    """Another process holds the write lock of the store."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _HOLD, str(house.workspace.store_db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        try:
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.stdin.close()
            holder.wait(20)


def record(**changed: Any) -> dict[str, Any]:
    """The arguments of a record's creation."""
    values = contact(full_name=changed.pop("full_name", "Ada"))
    return {
        "tenant": "acme",
        "collection": "contacts",
        "values": values,
        "idempotency_key": fresh_key(),
        **changed,
    }


def named(face: Face, full_name: str) -> int:
    """How many records bear a name."""
    tree = {"op": "eq", "field": "full_name", "value": full_name}
    found = ask(face, "record_query", tenant="acme", collection="contacts", filter=tree)
    return len(found["result"]["records"])


@pytest.mark.long
async def test_a_locked_store_fails_a_change_and_the_next_call_works(
    shared: House, agent: Agent, issue: Issue
) -> None:
    token = issue("operator,support", f"acme,{(tenant := fresh_name())}")
    creation = record(full_name=(name := fresh_name("Locked")))
    proposal = onboarding(tenant)
    async with agent(shared, token) as client:
        await call(client, "whoami")
        before = shared.effects_at_rest()
        with locked(shared):
            failed = [
                await call(client, "record_create", **creation),
                await call(client, "tenant_onboard", **proposal),
            ]
        assert shared.effects() == before
        created = await call(client, "record_create", **creation)
        proposed = await call(client, "tenant_onboard", **proposal)

    for said in failed:
        assert (said["outcome"], said["code"], said["retryable"]) == (
            "failed",
            "store_locked",
            True,
        )
    assert created["outcome"] == "done"
    assert proposed["outcome"] == "running"
    with shared.face(token) as face:
        assert named(face, name) == 1
        follow(face, proposed["run_id"], {"applied"})


def test_a_read_that_cannot_be_recorded_is_not_answered(shared: House, issue: Issue) -> None:
    with shared.face(issue("viewer", "acme")) as face:
        assert ask(face, "whoami")["outcome"] == "done"
        with locked(shared):
            said = ask(face, "whoami")
        assert (said["outcome"], said["code"], said["retryable"]) == (
            "failed",
            "store_locked",
            True,
        )
        assert "result" not in said
        assert ask(face, "whoami")["outcome"] == "done"


def test_a_store_that_locks_after_the_effect_never_says_that_nothing_remained(
    shared: House, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    creation = record(full_name=(name := fresh_name("Late")))
    with shared.face(issue("support", "acme")) as face:
        handler: Any = CHANGES[CreateRecord.name]
        real = handler.affect
        held = locked(shared)

        def affect(*arguments: Any) -> Any:
            made = real(*arguments)
            held.__enter__()
            return made

        monkeypatch.setattr(handler, "affect", affect)
        try:
            said = ask(face, "record_create", **creation)
        finally:
            held.__exit__(None, None, None)
        monkeypatch.undo()

        # The record stands: "failed" would promise that nothing remained.
        assert named(face, name) == 1
        assert said["outcome"] == "unknown", said
        assert ask(face, "record_create", **creation)["outcome"] in {"unknown", "done"}
        assert named(face, name) == 1


def pages(house: House) -> int:
    """How many pages the store's file has, every one in use."""
    with closing(sqlite3.connect(house.workspace.store_db)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


def test_a_full_store_fails_changes_and_the_next_call_works_when_there_is_room(
    shared: House, issue: Issue
) -> None:
    token = issue("support", "acme")
    with shared.face(token) as face:
        ask(face, "whoami")
        room = [pages(shared)]

        # The bound is one of the connection: this face alone finds the disk full.
        assert isinstance(face.store, SqliteStore)

        @event.listens_for(face.store._writer, "begin")
        def bounded(connection: Any) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count={room[0]}")

        names = [fresh_name("Full") for _ in range(60)]
        said: dict[str, dict[str, Any]] = {}
        for name in names:
            said[name] = ask(face, "record_create", **record(full_name=name))
            if said[name].get("code") == "store_full":
                break
        full = next(reversed(said))
        assert said[full]["outcome"] in {"failed", "unknown"}
        if said[full]["outcome"] == "failed":
            assert said[full]["retryable"] is True

        room[0] = 2**30
        for name, outcome in said.items():
            stands = {"done": {1}, "failed": {0}, "unknown": {0, 1}}[outcome["outcome"]]
            assert named(face, name) in stands, (name, outcome)
        assert ask(face, "record_create", **record())["outcome"] == "done"
