"""A catalog switched while two tenants' agents call without a pause: none fails, none meets a mixture. Not a benchmark."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client

from server.workspace import StoreKind
from tests.conftest import MakeHouse
from tests.support.agents import call
from tests.support.house import House, fresh_key
from tests.support.leaves import opened_leaves
from tests.support.onboarding import contact, onboard
from tests.support.switching import Operator, add_field
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
StartWorker = Callable[..., RunningWorker]
Found = dict[str, Any]

TENANTS = ("acme", "globex")
LINES = 5
A_SECOND = 10.0  # each line's, so that both tenants together make a hundred calls a second
AROUND_S = 2.0
POLICY = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: rows_contacts
  version: default
  schemas:
    principalSchema: {ref: "cerbos:///principal.json"}
    resourceSchema: {ref: "cerbos:///rows_contacts.json"}
  rules:
    - name: all
      actions: [read, create, update, read_pii]
      effect: EFFECT_ALLOW
      roles: [support]
"""


def widened(catalog: Path) -> None:
    """Who supports a tenant sees what is personal, and a field more: an answer shows what it was made by."""
    (catalog / "policies").mkdir()
    (catalog / "policies" / "rows_contacts.yaml").write_text(POLICY)
    add_field("nickname", "{kind: string, nullable: true}")(catalog)


@dataclass
class Line:
    """One stream of calls for one tenant: the next one begins at its time, or when the last one ended."""

    client: Client
    tenant: str
    number: int
    kinds: Counter[str] = field(default_factory=Counter[str])
    sides: list[str] = field(default_factory=list[str])

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Call until stopped."""
        made = await self._ask("record_create", values=contact(), idempotency_key=fresh_key())
        record = made["result"]["record"]
        next_s = time.monotonic()
        for tool, arguments in self._turns(record["id"]):
            if stopped():
                return
            found = await self._ask(tool, **arguments)
            self.kinds[tool] += 1
            for one in _records(found):
                self.sides.append(_side(one))
            next_s = max(next_s + 1 / A_SECOND, time.monotonic() - 1.0)
            await anyio.sleep(max(0.0, next_s - time.monotonic()))

    async def _ask(self, tool: str, **arguments: Any) -> Found:
        named = {"tenant": self.tenant, "collection": "contacts", **arguments}
        found = await call(self.client, tool, **named)
        assert found["outcome"] == "done", (tool, found)
        return found

    def _turns(self, record: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        version = 1
        while True:
            yield "record_query", {"limit": 3}
            yield "record_get", {"id": record}
            yield "record_aggregate", {"measures": [{"op": "count"}]}
            yield "record_get", {"id": record}
            values = {"balance": version}
            key = fresh_key()
            yield (
                "record_update",
                {"id": record, "version": version, "values": values, "idempotency_key": key},
            )
            version += 1


def _records(found: Found) -> list[Found]:
    result = found["result"]
    return list(result.get("records") or [result["record"]] if "record" in result else [])


def _side(record: Found) -> str:
    personal, newer = "email" in record, "nickname" in record
    assert personal == newer, record
    return "after" if newer else "before"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def house(request: pytest.FixtureRequest, workspace: MakeHouse) -> House:
    store: StoreKind = request.param
    return workspace(store=store, call_deadline_s="10", gate_deadline_s="5")


async def test_no_call_fails_and_none_meets_a_mixture_while_a_catalog_is_switched(
    house: House, worker: StartWorker, agent: Agent
) -> None:
    worker(house)
    operator = Operator.of(house)
    with house.face(operator.token) as face:
        for tenant in TENANTS:
            onboard(face, tenant)
    lines, run = await _switched_under_load(house, operator, agent)
    for line in lines:
        # From the old side to the new one, once, and each has been on both.
        assert line.sides == sorted(line.sides, reverse=True), line.tenant
        assert set(line.sides) == {"before", "after"}
    _assert_no_mixture(house, run.command["catalog"])


async def _switched_under_load(house: House, operator: Operator, agent: Agent) -> Any:
    ended = anyio.Event()
    lines: list[Line] = []
    async with AsyncExitStack() as stack:
        for tenant in TENANTS:
            token = house.issue("support", tenant, actor=f"{tenant}-bot")
            client = await stack.enter_async_context(agent(house, token))
            lines += [Line(client, tenant, number) for number in range(LINES)]
        began_s = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for line in lines:
                tasks.start_soon(line.run, ended.is_set)
            await anyio.sleep(AROUND_S)
            run = await anyio.to_thread.run_sync(operator.apply, widened)
            await anyio.sleep(AROUND_S)
            ended.set()
        took_s = time.monotonic() - began_s
    calls = sum(line.kinds.total() for line in lines)
    house.folder.joinpath("rate").write_text(f"{calls} calls in {took_s:.1f} s\n")
    return lines, run


def _assert_no_mixture(house: House, digest: str) -> None:
    """Each call was decided by one bundle, and after the switch nothing changes by the one before."""
    stamps: set[tuple[str, str]] = set()
    switched = False
    for leaf in opened_leaves(house):
        payload = leaf.payload or {}
        if leaf.leaf.kind == "catalog.applied":
            switched = payload["digest"] == digest
        if "bundle" not in payload:
            continue
        stamp = str(payload["catalog"]), str(payload["bundle"])
        stamps.add(stamp)
        evidence: Any = payload["evidence"]
        of_rows: Any = payload["row_evidence"]
        assert {one["bundle"] for one in (evidence, *of_rows) if one} <= {stamp[1]}, leaf
        if leaf.leaf.kind in ("changed", "intent", "run.proposed"):
            assert (stamp[0] == digest) == switched, leaf
    catalogs, bundles = {one for one, _ in stamps}, {one for _, one in stamps}
    assert len(catalogs) == len(bundles) == len(stamps)
