"""A workspace whose rows lie on Postgres, with its worker and faces at work. Not the rules of a tool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client

from control_plane.store import tables
from graphs.ledger import Ledger
from graphs.passage import Passage
from server.auditing import Auditing
from server.opening import open_store
from server.wiring import Face
from tests.conftest import MakeHouse
from tests.support.house import House, fresh_key
from tests.support.onboarding import ask, contact, onboard, onboarding, park
from tests.support.waiting import until
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio
DEADLINE_S = 60


@pytest.mark.long
async def test_faces_and_worker_do_all_their_work_with_their_own_logins(
    workspace: MakeHouse,
    worker: Callable[..., RunningWorker],
    agent: Callable[..., AbstractAsyncContextManager[Client]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = workspace(store="postgres")
    running = worker(house)
    token = house.issue("operator,support", "acme,globex,initech", actor="bot")
    async with agent(house, token) as client:
        answer = await client.call_tool("whoami", {})
        assert not answer.is_error
    with house.face(token) as face:
        for tenant in ("acme", "globex"):
            onboard(face, tenant)
        _records(face)
        _a_run_is_asked_to_stop(face)
        _a_dry_run_and_a_refusal_leave_nothing_but_leaves(house, face)
        _one_key_for_two_tenants_at_once(face, monkeypatch)
    auditor = house.issue("auditor", "acme,globex,initech", principal="carol", actor=None)
    with house.face(auditor) as face:
        for listing in ("audit_search", "run_list", "approval_list"):
            listed = ask(face, listing)
            assert listed["outcome"] in ("done", "refused"), listed
    # What the worker has not yet signed when it ends, it signs before it does.
    running.stop()
    _verifies(house)


def _records(face: Face) -> None:
    made = _create(face, "acme", fresh_key())
    assert made["outcome"] == "done", made
    found = ask(face, "record_query", tenant="acme", collection="contacts")
    assert len(found["result"]["records"]) == 1
    other = ask(face, "record_query", tenant="globex", collection="contacts")
    assert other["result"]["records"] == []


def _create(face: Face, tenant: str, key: str) -> dict[str, Any]:
    return ask(
        face,
        "record_create",
        tenant=tenant,
        collection="contacts",
        values=contact(),
        idempotency_key=key,
    )


def _a_run_is_asked_to_stop(face: Face) -> None:
    run = park(face, "initech")
    approval = ask(face, "approval_get", approval_id=run["approval_id"])
    assert approval["result"]["state"] == "pending"
    stopped = ask(face, "run_cancel", run_id=run["run_id"], idempotency_key=fresh_key())
    assert stopped["outcome"] == "done", stopped

    def canceled() -> bool:
        return bool(ask(face, "run_get", run_id=run["run_id"])["result"]["state"] == "canceled")

    until(canceled, "the run is canceled", DEADLINE_S)


def _a_dry_run_and_a_refusal_leave_nothing_but_leaves(house: House, face: Face) -> None:
    before, leaves = house.effects(), house.rows(tables.audit_leaf)
    planned = ask(
        face,
        "record_create",
        tenant="acme",
        collection="contacts",
        values=contact(),
        idempotency_key=fresh_key(),
        dry_run=True,
    )
    assert planned["outcome"] == "planned", planned
    absent = ask(face, "record_query", tenant="umbrella", collection="contacts")
    assert absent["outcome"] == "not_found"
    taken = ask(face, "tenant_onboard", **onboarding("acme"))
    assert taken["outcome"] in ("refused", "not_found"), taken
    assert house.effects() == before
    assert house.rows(tables.audit_leaf) >= leaves + 3


def _one_key_for_two_tenants_at_once(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not wait for each other: only the key's own row tells the second of the first."""
    both, whole = threading.Barrier(2, timeout=DEADLINE_S), Ledger.keep

    def keep(ledger: Ledger, connection: Any, passage: Passage, **given: Any) -> None:
        both.wait()
        whole(ledger, connection, passage, **given)

    key, ended = fresh_key(), dict[str, dict[str, Any]]()
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "keep", keep)

        def call(tenant: str) -> None:
            ended[tenant] = _create(face, tenant, key)

        calls = [threading.Thread(target=call, args=(one,)) for one in ("acme", "globex")]
        for one in calls:
            one.start()
        for one in calls:
            one.join(DEADLINE_S)
    done, refused = sorted(ended.values(), key=lambda one: str(one["outcome"]))
    assert done["outcome"] == "done", ended
    assert (refused["outcome"], refused["code"]) == ("refused", "idempotency_key_reused")
    # Nothing remains of the second: with another key it is made.
    (late,) = (name for name, one in ended.items() if one["outcome"] == "refused")
    assert _create(face, late, fresh_key())["outcome"] == "done"


def _verifies(house: House) -> None:
    store = open_store(house.workspace, "auditor")
    try:
        report = Auditing(house.workspace, store).verify()
    finally:
        store.close()
    assert report.intact, report
    assert report.size > 20
    assert house.rows(tables.tenant) == 2
