"""What a worker proves of its catalog's policies over rows when it starts, with a real engine. The proof itself is tested with the machines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from control_plane.domain.canonical import Json, digest
from control_plane.handlers.exactness import proved_exact
from control_plane.handlers.handler import Ports
from control_plane.store import tables
from graphs.gatekeeper import Gate
from policies.decision import Decision
from policies.gate import Gate as EngineGate
from policies.request import Attribute, Principal, Resource
from policies.rows import RowPlan
from server import proving
from server.catalog import Catalog, load_applied
from server.private_engine import private_gate
from server.proving import named_roles, prove_once
from server.wiring import face_ports
from tests.support.house import House, build_house
from tests.support.ruled_engine import ALLOW, row_policy, rule

CRATES = """\
name: crates
description: What is sent, with its weight where it was taken.
fields:
  status: {kind: enum, values: [packed, sent]}
  weight: {kind: integer, nullable: true}
"""
SENT = 'R.attr.status == "sent"'
# Of a crate that was not weighed the second rule errs, and no filter says so.
RULES = {
    "crates": [rule(ALLOW, ["support"], ["read"], one) for one in (SENT, "R.attr.weight > 9")],
    "orders": [rule(ALLOW, ["support"], ["read"], SENT)],
    "parcels": [rule(ALLOW, ["support"], ["read"], "R.attr.weight == 9")],
}
EXACT = {"crates": False, "orders": True, "parcels": True}
SECONDS = 1000.0


@dataclass
class Watched:
    """The real gate, with the kinds that it was asked about; each question takes some seconds."""

    gate: Gate
    takes_s: float = 0.0
    now_s: float = 0.0
    kinds: set[str] = field(default_factory=set[str])

    @property
    def version(self) -> str:
        """The bundle's."""
        return self.gate.version

    def check(self, principal: Principal, resources: Sequence[Resource]) -> tuple[Decision, ...]:
        """As the real one."""
        self.kinds |= {one.kind for one in resources}
        return self.gate.check(principal, resources)

    def plan(
        self,
        principal: Principal,
        kind: str,
        attr: Mapping[str, Attribute],
        actions: Sequence[str],
    ) -> RowPlan:
        """As the real one."""
        self.kinds.add(kind)
        self.now_s += self.takes_s
        return self.gate.plan(principal, kind, attr, actions)

    def monotonic(self) -> float:
        """The hour, as these questions have moved it on."""
        return self.now_s


@dataclass(frozen=True)
class Start:
    """A worker's ports and engine, and a catalog of which nothing is proved yet."""

    house: House
    ports: Ports
    gate: Gate
    catalog: Catalog

    def prove(self, gate: Gate | None = None) -> None:
        """What a worker does once, before anything else."""
        prove_once(self.ports, self.catalog, gate or self.gate)

    def proved(self) -> Mapping[str, Json]:
        """What is written of the catalog."""
        with self.ports.store.read() as connection:
            return dict(proved_exact(connection, self.catalog.digest))

    def leaves(self) -> int:
        """How many leaves were written."""
        return self.house.rows(tables.audit_leaf)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Start]:
    """One workspace, and an engine over its policies."""
    folder = tmp_path_factory.mktemp("proving")
    for part in ("collections", "policies"):
        (folder / "extra" / part).mkdir(parents=True)
    for name, rules in RULES.items():
        declared = CRATES.replace("crates", name)
        (folder / "extra" / "collections" / f"{name}.yaml").write_text(declared)
        policy = folder / "extra" / "policies" / f"rows_{name}.yaml"
        policy.write_text(json.dumps(row_policy(name, rules)))
    house = build_house(folder / "house", cerbos_binary, catalog=folder / "extra")
    with ExitStack() as stack:
        store = stack.enter_context(house.store())
        ports = face_ports(house.workspace, house.settings, store)
        stack.callback(ports.databases.close)
        with store.read() as connection:
            catalog = load_applied(connection, house.workspace.catalogs)
        bundle = catalog.bundle(folder / "bundles")
        gate = stack.enter_context(private_gate(cerbos_binary, bundle))
        yield Start(house, ports, gate, catalog)


@pytest.fixture
def start(standing: Start, request: pytest.FixtureRequest) -> Start:
    """The same under a digest of this test's own, by which what is proved is kept."""
    own = digest([standing.catalog.digest, request.node.name])
    return replace(standing, catalog=replace(standing.catalog, digest=own))


@pytest.mark.long
def test_each_policy_is_kept_as_exact_or_not_and_said_in_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    before = start.leaves()
    start.prove()
    assert start.proved() == EXACT
    assert start.leaves() == before + 1
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert told == ["rows_crates#read"]


def test_what_is_written_is_not_proved_again(start: Start) -> None:
    start.prove()
    leaves, again = start.leaves(), Watched(start.gate)
    start.prove(again)
    assert again.kinds == set()
    assert (start.proved(), start.leaves()) == (EXACT, leaves)


def test_a_second_start_goes_on_with_the_rest_when_the_time_was_over(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow, rest = Watched(start.gate, takes_s=SECONDS), Watched(start.gate)
    monkeypatch.setattr(proving, "time", SimpleNamespace(monotonic=slow.monotonic))
    start.prove(slow)
    assert slow.kinds == {"rows_crates"}
    assert start.proved() == {"crates": False}
    assert "the rest at the next start" in caplog.text
    monkeypatch.setattr(proving, "time", time)
    start.prove(rest)
    assert rest.kinds == {"rows_orders", "rows_parcels"}
    assert start.proved() == EXACT


def test_an_engine_that_does_not_answer_leaves_the_worker_going_and_nothing_written(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, gone = start.leaves(), EngineGate(tmp_path / "none.sock", start.gate.version, 0.5)
    try:
        start.prove(gone)
    finally:
        gone.close()
    assert "could not be proved now: policy_engine_unavailable" in caplog.text
    assert (start.proved(), start.leaves()) == ({}, before)
    start.prove()
    assert start.proved() == EXACT


def test_a_catalog_without_a_policy_over_rows_is_asked_nothing(start: Start) -> None:
    before, watched = start.leaves(), Watched(start.gate)
    unruled = replace(start.catalog, policy_folder=None, row_rules={})
    prove_once(start.ports, unruled, watched)
    assert watched.kinds == set()
    assert (start.proved(), start.leaves()) == ({}, before)


def test_only_the_roles_that_a_policy_names_are_proved_for() -> None:
    texts = ["roles: [support, platform_admin]", "a sentence about an operator's day"]
    assert named_roles(texts) == ["support", "operator", "platform_admin"]


def test_a_word_within_a_word_names_no_role() -> None:
    assert named_roles(["supporting cooperators"]) == []
