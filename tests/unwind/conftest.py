"""A workspace whose worker can be killed at a named boundary. Its stacks write down each real effect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from control_plane.audit.recorder import LeafRecorder, guarded_rows
from control_plane.domain.caller import Caller, Grant
from control_plane.domain.outcome import Outcome
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.engine.failpoints import Failpoints
from control_plane.facts.load import run_row, tenant_row
from control_plane.handlers.handler import Ports
from control_plane.provisioning import module
from control_plane.store import tables
from control_plane.store.sqlite import SqliteStore
from graphs.approvals import Approvals
from graphs.gatekeeper import Gatekeeper
from policies.binary import find_binary
from server import keys
from server.approving import Approving
from server.clock import SystemClock
from server.gate_link import LinkedGate
from server.grants import keep, parse_new_grant
from server.ids import RandomIds
from server.initialise import Answers, initialise
from server.settings import Settings, read_settings
from server.wiring import Face, face_ports, wire_face
from server.worker_state import read_state
from server.workspace import Workspace

ROOT_PASSPHRASE = b"a root passphrase for tests"
APPROVER_PASSPHRASE = b"an approver passphrase for tests"
SHIPPED = Path(module.__file__).parent / "modules"
_WAIT_S = 60.0
_PAUSE_S = 0.02


def wait_for(what: str, condition: Callable[[], bool], deadline_s: float = _WAIT_S) -> None:
    """Poll until it holds; fail by name when it does not in time."""
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        if condition():
            return
        time.sleep(_PAUSE_S)
    pytest.fail(f"{what}: not within {deadline_s:g} s")


def effect_modules(folder: Path, log: Path) -> Path:
    """The shipped stacks, each with one program that writes a line for every real creation."""
    for model in ("silo", "pooled"):
        copied = folder / "local" / model
        shutil.copytree(SHIPPED / "local" / model, copied)
        (copied / "effect.tf").write_text(
            'resource "terraform_data" "effect" {\n'
            "  triggers_replace = [var.tenant_id]\n"
            '  provisioner "local-exec" {\n'
            f'    command = "echo $TENANT >> {log}"\n'
            "    environment = {\n      TENANT = var.tenant_id\n    }\n"
            "  }\n}\n"
        )
    return folder


@dataclass
class House:
    """One workspace, driven in this process; its worker is a child that may be killed."""

    workspace: Workspace
    settings: Settings
    modules: Path
    effects: Path
    caller: Caller
    human: Caller
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *failpoints: str) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it is ready (or dead, where a fault is armed)."""
        digests = [module.tree_digest(self.modules / "local" / m) for m in ("silo", "pooled")]
        command = [sys.executable, "-P", "-m", "paybill", "worker", "--modules", str(self.modules)]
        command += [part for digest in digests for part in ("--admit-module", digest)]
        command += [part for point in failpoints for part in ("--failpoints", point)]
        environment = {
            "PATH": self.settings.path,
            "HOME": str(self.settings.home),
            "PAYBILL_HOME": str(self.settings.home),
            "PAYBILL_CACHE": str(self.settings.cache),
            "PAYBILL_WORKSPACE": str(self.workspace.root),
            "PAYBILL_CERBOS_BIN": str(self.settings.cerbos_bin),
        }
        with self.workspace.worker_log.open("ab") as log:
            child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.children.append(child)
        wait_for(
            "the worker is ready",
            lambda: self._ready(child.pid) or child.poll() is not None,
        )
        return child

    def _ready(self, pid: int) -> bool:
        state = read_state(self.workspace.worker_json)
        return state is not None and state.pid == pid

    def stop(self) -> None:
        """End every worker that is left."""
        for child in self.children:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait(timeout=5)
        self.children.clear()

    def face(self) -> Face:
        """A face of this process, for the agent."""
        return wire_face(
            self.workspace, self.settings, lambda _: lambda: self.caller, Failpoints()
        )

    def onboard(self, tenant: str, isolation: str) -> Outcome:
        """Ask for a tenant, always with the same key, as an agent that repeats its call does."""
        face = self.face()
        try:
            answer = face.front.call(
                "tenant_onboard",
                {
                    "tenant": tenant,
                    "display_name": tenant.title(),
                    "plan": "team",
                    "isolation": isolation,
                    "idempotency_key": f"onboard-{tenant}",
                },
            )
        finally:
            face.close()
        assert answer.outcome is not None, answer.bad_input
        return answer.outcome

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        with self.store() as store, store.read() as connection:
            found = run_row(connection, run_id)
        assert found is not None
        return found

    def tenant(self, tenant: str) -> Tenant | None:
        """The tenant as it stands."""
        with self.store() as store, store.read() as connection:
            return tenant_row(connection, tenant)

    def store(self) -> OpenedStore:
        """The store, closed at the end of the block."""
        return OpenedStore(self.workspace.store_db)

    def approve(self, approval_id: str) -> None:
        """The approver's own code path."""
        with self.store() as store:
            ports = face_ports(self.workspace, self.settings, store)
            gate = LinkedGate(self.workspace.worker_json, 5.0)
            approving = self.approving(ports, gate)
            question = approving.show(self.human, approval_id)
            approving.answer(
                self.human,
                approval_id,
                "approve",
                confirm=question.approval.plan_digest[:8],
                passphrase=APPROVER_PASSPHRASE,
            )
            gate.close()

    def approving(self, ports: Ports, gate: LinkedGate) -> Approving:
        """The approver's service."""
        return Approving(self.workspace, ports, Approvals(ports, Gatekeeper(gate)))

    def effects_of(self, tenant: str) -> int:
        """How often the stack's program really ran for a tenant."""
        if not self.effects.exists():
            return 0
        return self.effects.read_text().split().count(tenant)

    def terraform_resources(self, tenant: str) -> int:
        """How many resources the tenant's Terraform state holds."""
        count = 0
        for state in self.workspace.terraform.glob(f"{tenant}/*/terraform.tfstate"):
            text = state.read_text()
            count += len(json.loads(text)["resources"]) if text else 0
        return count


class OpenedStore:
    """A store for one block."""

    def __init__(self, path: Path) -> None:
        self._store = SqliteStore(path)

    def __enter__(self) -> SqliteStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _grant(
    house_store: SqliteStore, recorder: LeafRecorder, *, actor: str | None, roles: str
) -> Caller:
    asked = parse_new_grant(
        principal="alice", actor=actor, roles=roles, ceiling=None, tenants="*", ttl="8h"
    )
    grant: Grant = asked.grant(uuid4().hex, SystemClock().now())
    with house_store.write() as connection:
        keep(connection, grant, recorder)
    return Caller.of(grant)


@pytest.fixture(scope="session")
def cerbos_for_unwind() -> Path:
    """The policy engine's program."""
    settings = read_settings()
    found = find_binary(
        setting=settings.cerbos_bin,
        environment=dict(os.environ),
        cache_dir=settings.cache,
    )
    return found.path


@pytest.fixture(scope="session")
def house(
    tmp_path_factory: pytest.TempPathFactory, cerbos_for_unwind: Path
) -> Iterator[House]:
    """One workspace for all of these tests: each uses a tenant of its own."""
    folder = tmp_path_factory.mktemp("unwind")
    root = folder / "workspace"
    root.mkdir()
    settings = read_settings().model_copy(
        update={"home": folder / "home", "cerbos_bin": cerbos_for_unwind}
    )
    clock, ids = SystemClock(), RandomIds()
    answers = Answers(name="unwind", approval_rule="own_hand", passphrase=ROOT_PASSPHRASE)
    workspace = initialise(root, settings.home, answers, clock, ids)
    effects = folder / "effects.log"
    store = SqliteStore(workspace.store_db)
    try:
        recorder = LeafRecorder(keys.load_public(workspace.keys).seal_bytes, clock, ids)
        agent = _grant(store, recorder, actor="bot", roles="platform_admin")
        human = _grant(store, recorder, actor=None, roles="platform_admin")
    finally:
        store.close()
    made = House(
        workspace=workspace,
        settings=settings,
        modules=effect_modules(folder / "modules", effects),
        effects=effects,
        caller=agent,
        human=human,
    )
    with made.store() as opened:
        ports = face_ports(workspace, settings, opened)
        gate = LinkedGate(workspace.worker_json, 5.0)
        secret = keys.load_root(workspace.keys, ROOT_PASSPHRASE)
        root_id = ports.root[0]
        made.approving(ports, gate).enrol("alice", APPROVER_PASSPHRASE, (root_id, secret))
    yield made
    made.stop()


def leaves_vouch_for_rows(house: House) -> bool:
    """Whether every guarded tenant row is as the last leaf that wrote it says."""
    with house.store() as store, store.read() as connection:
        table = tables.audit_leaf
        said: dict[tuple[str, str], str | None] = {}
        for (guards,) in connection.execute(select(table.c.guards).order_by(table.c.written)):
            for guard in guards:
                said[(guard["table"], guard["key"])] = guard["digest"]
        standing = guarded_rows(connection)
    return all(
        said.get(key) == digest
        for key, digest in standing.items()
        if key[0] in ("tenant", "subscription", "approval")
    )


@pytest.fixture
def vouched(house: House) -> Callable[[], bool]:
    """The same as a function of no argument."""
    return lambda: leaves_vouch_for_rows(house)


@pytest.fixture
def waiting() -> Callable[..., None]:
    """Polling with a deadline."""
    return wait_for


