"""A catalog switched while two tenants' agents call without a pause: none fails, none meets a mixture. Not a benchmark."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from control_plane.domain.run_record import Run
from server.workspace import StoreKind
from tests.conftest import MakeHouse
from tests.support.house import House, fresh_key
from tests.support.http_faces import FOR_HTTP, http_face
from tests.support.kept import Kept
from tests.support.leaves import opened_leaves
from tests.support.onboarding import contact, onboard
from tests.support.switching import Operator, add_field
from tests.support.workers import RunningWorker

pytestmark = pytest.mark.anyio

StartWorker = Callable[..., RunningWorker]
Found = dict[str, Any]

_LOG = logging.getLogger("tests.switch")
TENANTS = ("acme", "globex")
LINES = 5
A_SECOND = 12.0  # each line's: both tenants together make a hundred calls a second, and some more
READS = 3  # rounds of them to a change
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

    kept: Kept
    tenant: str
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
        found = await self.kept.call(tool, **named)
        assert found["outcome"] == "done", (tool, found)
        return found

    def _turns(self, record: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        version = 1
        while True:
            for _ in range(READS):
                yield "record_get", {"id": record}
                yield "record_query", {"limit": 3}
                yield "record_get", {"id": record}
            yield "record_aggregate", {"measures": [{"op": "count"}]}
            values = {"balance": version}
            key = fresh_key()
            yield (
                "record_update",
                {"id": record, "version": version, "values": values, "idempotency_key": key},
            )
            version += 1


def _records(found: Found) -> list[Found]:
    result = found["result"]
    listed: list[Found] = result.get("records", [])
    return [result["record"]] if "record" in result else listed


def _side(record: Found) -> str:
    personal, newer = "email" in record, "nickname" in record
    assert personal == newer, record
    return "after" if newer else "before"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)])
def house(request: pytest.FixtureRequest, workspace: MakeHouse) -> House:
    store: StoreKind = request.param
    return workspace(store=store, call_deadline_s="10", gate_deadline_s="5")


@pytest.mark.long
async def test_no_call_fails_and_none_meets_a_mixture_while_a_catalog_is_switched(
    house: House, worker: StartWorker
) -> None:
    worker(house)
    operator = Operator.of(house)
    with house.face(operator.token) as face:
        for tenant in TENANTS:
            onboard(face, tenant)
    load = await _switched_under_load(house, operator)
    # To be seen with `--log-cli-level=info`: how many a second depends on the machine.
    _LOG.info("%d calls in %.1f s", load.calls, load.took_s)
    for line in load.lines:
        # From the old side to the new one, once, and each has been on both.
        assert line.sides == sorted(line.sides, reverse=True), line.tenant
        assert set(line.sides) == {"before", "after"}
    _assert_no_mixture(house, load.catalog)


@dataclass(frozen=True)
class Load:
    """What was called while a catalog was switched, and which one it was."""

    lines: list[Line]
    catalog: str
    took_s: float

    @property
    def calls(self) -> int:
        """How many calls there were, of all lines."""
        return sum(line.kinds.total() for line in self.lines)


async def _switched_under_load(house: House, operator: Operator) -> Load:
    ended, runs = anyio.Event(), list[Run]()
    async with AsyncExitStack() as stack:
        lines: list[Line] = []
        for tenant in TENANTS:
            served = stack.enter_context(http_face(house))
            token = house.issue("support", tenant, actor=f"{tenant}-bot", bound=FOR_HTTP)
            for _ in range(LINES):
                kept = await Kept.to(served, token)
                stack.callback(kept.close)
                lines.append(Line(kept, tenant))
        began_s = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for line in lines:
                tasks.start_soon(line.run, ended.is_set)
            await anyio.sleep(AROUND_S)
            runs.append(await anyio.to_thread.run_sync(operator.apply, widened))
            await anyio.sleep(AROUND_S)
            ended.set()
        took_s = time.monotonic() - began_s
    return Load(lines, str(runs[0].command["catalog"]), took_s)


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
