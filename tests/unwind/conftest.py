"""A workspace whose worker may be killed at a named boundary. Its stacks write down each real effect."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.audit.recorder import guarded_rows
from control_plane.domain.caller import Caller, Grant
from control_plane.domain.outcome import Outcome
from control_plane.domain.run_record import Run
from control_plane.domain.tenant import Tenant
from control_plane.facts.load import run_row, tenant_row
from control_plane.provisioning import module
from control_plane.store import rows, tables
from graphs.approvals import Approvals
from graphs.gatekeeper import Gatekeeper
from server import keys
from server.approving import Approving
from server.gate_link import LinkedGate
from server.wiring import face_ports
from tests.support.house import PASSPHRASE, House, Token, build_house

APPROVER_PASSPHRASE = b"an approver passphrase for tests"
SHIPPED = Path(module.__file__).parent / "modules" / "local"
MODELS = ("pooled", "silo")


def effect_modules(folder: Path, log: Path) -> Path:
    """The shipped stacks, each with one program that writes a line for every real creation."""
    for model in MODELS:
        copied = folder / "local" / model
        shutil.copytree(SHIPPED / model, copied)
        (copied / "effect.tf").write_text(
            'resource "terraform_data" "effect" {\n'
            "  triggers_replace = [var.tenant_id]\n"
            '  provisioner "local-exec" {\n'
            f'    command = "echo $TENANT >> {log}"\n'
            "    environment = {\n      TENANT = var.tenant_id\n    }\n"
            "  }\n}\n"
        )
    return folder


@dataclass(frozen=True)
class Site:
    """One workspace with its agent, its approver, and the log of real effects."""

    house: House
    modules: Path
    effects: Path
    agent: Token
    human: Caller

    def worker_options(self, *failpoints: str) -> list[str]:
        """What a worker of this site is started with."""
        digests = [module.tree_digest(self.modules / "local" / model) for model in MODELS]
        options = ["--modules", str(self.modules)]
        options += [part for digest in digests for part in ("--admit-module", digest)]
        return options + [part for point in failpoints for part in ("--failpoints", point)]

    def arguments(self, tenant: str, isolation: str) -> dict[str, object]:
        """An onboarding, always with the same key, as from an agent that repeats its call."""
        return {
            "tenant": tenant,
            "display_name": tenant.title(),
            "plan": "team",
            "isolation": isolation,
            "idempotency_key": f"onboard-{tenant}",
        }

    def onboard(self, tenant: str, isolation: str) -> Outcome:
        """Ask for a tenant through a face of this process."""
        with self.house.face(self.agent) as face:
            answer = face.front.call("tenant_onboard", self.arguments(tenant, isolation))
        assert answer.outcome is not None, answer.bad_input
        return answer.outcome

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        with self.house.store() as store, store.read() as connection:
            found = run_row(connection, run_id)
        assert found is not None
        return found

    def runs_of(self, tenant: str) -> list[Run]:
        """Every run there ever was for a tenant."""
        table = tables.run
        with self.house.store() as store, store.read() as connection:
            return rows.every(connection, table, Run, table.c.tenant == tenant)

    def tenant(self, tenant: str) -> Tenant | None:
        """The tenant as it stands."""
        with self.house.store() as store, store.read() as connection:
            return tenant_row(connection, tenant)

    def approve(self, approval_id: str) -> None:
        """The approver's own code path."""
        workspace = self.house.workspace
        gate = LinkedGate(workspace.worker_json, 5.0)
        with self.house.store() as store:
            ports = face_ports(workspace, self.house.settings, store)
            approving = Approving(workspace, ports, Approvals(ports, Gatekeeper(gate)))
            question = approving.show(self.human, approval_id)
            approving.answer(
                self.human,
                approval_id,
                "approve",
                confirm=question.approval.plan_digest[:8],
                passphrase=APPROVER_PASSPHRASE,
            )
        gate.close()

    def effects_of(self, tenant: str) -> int:
        """How often the stack's program really ran for a tenant."""
        return self.effects.read_text().split().count(tenant) if self.effects.exists() else 0

    def terraform_resources(self, tenant: str) -> int:
        """How many resources the tenant's Terraform states hold."""
        states = self.house.workspace.terraform.glob(f"{tenant}/*/terraform.tfstate")
        texts = [state.read_text() for state in states]
        return sum(len(json.loads(text)["resources"]) for text in texts if text)

    def vouched(self) -> bool:
        """Whether every tenant's rows are as the last leaf that wrote them says."""
        said: dict[tuple[str, str], str | None] = {}
        with self.house.store() as store, store.read() as connection:
            table = tables.audit_leaf
            for (guards,) in connection.execute(select(table.c.guards).order_by(table.c.written)):
                for guard in guards:
                    said[(guard["table"], guard["key"])] = guard["digest"]
            standing = guarded_rows(connection)
        return all(said.get(key) == digest for key, digest in standing.items())


def enrol(house: House, principal: str) -> None:
    """Make a person an approver, by the root key."""
    workspace = house.workspace
    gate = LinkedGate(workspace.worker_json, 5.0)
    with house.store() as store:
        ports = face_ports(workspace, house.settings, store)
        secret = keys.load_root(workspace.keys, PASSPHRASE)
        approving = Approving(workspace, ports, Approvals(ports, Gatekeeper(gate)))
        approving.enrol(principal, APPROVER_PASSPHRASE, (ports.root[0], secret))
    gate.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Site:
    """One workspace for all of these tests: each uses a tenant of its own."""
    folder = tmp_path_factory.mktemp("unwind")
    house = build_house(folder / "house", cerbos_binary)
    effects = folder / "effects.log"
    human = house.issue("platform_admin", "*", actor=None)
    enrol(house, "alice")
    with house.store() as store, store.read() as connection:
        grant = rows.first(connection, tables.grant, Grant, tables.grant.c.id == human.grant_id)
    assert grant is not None
    return Site(
        house=house,
        modules=effect_modules(folder / "modules", effects),
        effects=effects,
        agent=house.issue("platform_admin", "*"),
        human=Caller.of(grant),
    )
