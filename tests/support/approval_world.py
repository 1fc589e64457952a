"""A backend in this process over a workspace of its own: a clock to turn, stacks in memory. Not a worker."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table

from control_plane.domain.approval_record import Approval, Approver
from control_plane.domain.caller import Caller, Grant
from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.domain.signing import approval_message, enrolment_message
from control_plane.domain.tenant import Tenant
from control_plane.engine.executor import Executor
from control_plane.engine.failpoints import Failpoints
from control_plane.facts.load import approval_row, run_row, tenant_row
from control_plane.handlers.catalog_in_force import applied_digest, put_in_force
from control_plane.handlers.handler import Limits, Ports
from control_plane.handlers.registry import LIFECYCLES
from control_plane.ports import Store
from control_plane.provisioning.memory import MemoryProvisioner
from control_plane.provisioning.port import Applied
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.runner import never
from control_plane.provisioning.stacks import StackRequest
from control_plane.secrets import signer
from control_plane.store import rows, tables
from graphs.approvals import Approvals
from graphs.gatekeeper import Gate, Gatekeeper
from graphs.runner import Runner
from server import grants
from server.approving import Approving
from server.front import Front
from server.generations import Generation
from server.ids import RandomIds
from server.settings import Settings
from server.wiring import make_runner
from server.workspace import Workspace
from tests.support.standing import Standing
from tools.house_tools import HOUSE_TOOLS
from tools.registry import TOOLS

START = datetime(2030, 1, 1, 9, tzinfo=UTC)
ROOT_PASSPHRASE = b"a root passphrase for tests"
APPROVER_PASSPHRASE = b"an approver passphrase for tests"
REQUESTER, APPROVER = "alice", "bob"
TENANT, OTHER = "acme", "globex"
# By what runs are carried out in a worker: more than a face offers.
RUNNABLE = {**TOOLS, **HOUSE_TOOLS}


def repeatable(turn: int) -> random.Random:
    """The same chances each time for the same turn."""
    return random.Random(turn)


class TurnedClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        """The instant it shows."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Turn it on."""
        self._now += by


class CountedProvisioner(MemoryProvisioner):
    """Counts what it really applied."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[str] = []
        self._lock = threading.Lock()

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = never,
        tell: Told = untold,
    ) -> Applied:
        """As the other, and one more in the count where it changed anything."""
        # One at a time, as the lock on a real state has it: the second finds that it is so already.
        with self._lock:
            before = dict(self._stacks)
            done = super().apply(request, artifact, should_stop=should_stop, tell=tell)
            if self._stacks != before:
                self.applied.append(request.tenant)
        return done


@dataclass(frozen=True)
class Template:
    """A workspace as it is after `init`, one agent's grant, one approver's grant and key.

    ``run_id`` names the run that waits for its approval, where one was proposed already.
    """

    workspace: Workspace
    settings: Settings
    root_seed: bytes
    approver_seed: bytes
    run_id: str = ""


@dataclass
class World:
    """One copy of the template, with everything that a worker and a face hold."""

    workspace: Workspace
    settings: Settings
    template: Template
    store: Store
    clock: TurnedClock
    provisioner: CountedProvisioner
    ports: Ports
    keeper: Gatekeeper
    runner: Runner
    executor: Executor

    # the parts, with one of them exchanged --------------------------------------------------

    def with_gate(self, gate: Gate) -> World:
        """The same store under another policy bundle."""
        return self._rewired(self.ports, Gatekeeper(gate))

    def generation(self) -> Generation:
        """What a face answers by."""
        return Generation(self.ports, TOOLS, self.keeper, lambda: self.runner)

    def with_catalog(self, catalog: Any) -> World:
        """The same store under another catalog, which is put in force."""
        with self.store.write() as connection:
            before = applied_digest(connection) or ""
            now = instant(self.clock.now())
            put_in_force(connection, self.ports.recorder, catalog.digest, before, now)
        return self._rewired(replace(self.ports, catalog=catalog), self.keeper)

    def with_ports(self, ports: Ports) -> World:
        """The same store behind other ports."""
        return self._rewired(ports, self.keeper)

    def with_limits(self, limits: Limits) -> World:
        """The same store under other limits."""
        return self._rewired(replace(self.ports, limits=limits), self.keeper)

    def _rewired(self, ports: Ports, keeper: Gatekeeper) -> World:
        runner = make_runner(ports, keeper, RUNNABLE)
        executor = Executor(ports, LIFECYCLES, runner, Failpoints())
        return replace(self, ports=ports, keeper=keeper, runner=runner, executor=executor)

    # the way of a run -----------------------------------------------------------------------

    def propose(
        self, tenant: str = TENANT, *, isolation: str = "silo", by: Caller | None = None
    ) -> str:
        """Ask for a tenant as an agent does; the run's id."""
        outcome = self.asked(tenant, isolation=isolation, by=by)
        assert outcome["outcome"] == "running", outcome
        return str(outcome["run_id"])

    def asked(
        self, tenant: str = TENANT, *, isolation: str = "silo", by: Caller | None = None
    ) -> dict[str, Any]:
        """The answer to the call that asks for a tenant."""
        front = Front(
            present=Standing(self.generation()),
            identify=lambda: by or self.caller(REQUESTER),
            limits=self.settings.limits,
            failpoints=Failpoints(),
        )
        answer = front.call(
            "tenant_onboard",
            {
                "tenant": tenant,
                "display_name": "A tenant",
                "plan": "team",
                "isolation": isolation,
                "idempotency_key": f"onboard-{tenant}-{RandomIds().new()}",
            },
        )
        assert answer.outcome is not None, answer.bad_input
        return answer.outcome.answer()

    def job(self, run_id: str) -> str:
        """A job that asks for the run to be taken up."""
        job_id = RandomIds().new()
        with self.store.write() as connection:
            connection.execute(
                tables.job.insert().values(
                    id=job_id,
                    routine="run",
                    run_id=run_id,
                    tenant=self.run(run_id).tenant,
                    state="pending",
                    created_at=instant(self.clock.now()),
                )
            )
        return job_id

    def work(self, run_id: str) -> Run:
        """Let the executor take the run up; the run as it then rests."""
        self.executor.work(self.job(run_id))
        return self.run(run_id)

    def parked(self, tenant: str = TENANT, *, by: Caller | None = None) -> Run:
        """A silo tenant's run that waits for an approval."""
        run = self.work(self.propose(tenant, by=by))
        assert run.state == "awaiting_approval", run
        return run

    # the approver ----------------------------------------------------------------------------

    @property
    def approving(self) -> Approving:
        """The approver's service."""
        return Approving(self.workspace, self.ports, Approvals(self.ports, self.keeper))

    def answer(
        self,
        run: Run,
        answer: Any = "approve",
        *,
        by: Caller | None = None,
        confirm: str | None = None,
        passphrase: bytes = APPROVER_PASSPHRASE,
    ) -> Approval:
        """Answer through the service, as the approver's own command does."""
        return self.approving.answer(
            by or self.caller(APPROVER),
            self.approval(run).id,
            answer,
            confirm=self.approval(run).plan_digest[:8] if confirm is None else confirm,
            passphrase=passphrase,
        )

    def forge(self, run: Run, *, seed: bytes, decided_by: str = APPROVER, **altered: Any) -> None:
        """Write an approved row past the service, signed by a seed; ``altered`` comes afterwards."""
        approval = self.approval(run)
        signature = signer.sign(seed, approval_message(approval, "approve")).hex()
        values = {
            "state": "approved",
            "decided_by": decided_by,
            "decided_at": instant(self.clock.now()),
            "key_id": signer.key_id(signer.public_bytes(seed)),
            "signature": signature,
        }
        self.alter(tables.approval, tables.approval.c.id == approval.id, **(values | altered))

    def enrol(
        self, principal: str, seed: bytes, *, signed_by: bytes | None = None, **altered: Any
    ) -> Approver:
        """Write an approver's row, signed by a seed (the root's where none is given)."""
        by = signed_by or self.template.root_seed
        public, now = signer.public_bytes(seed), instant(self.clock.now())
        message = enrolment_message(principal, public.hex(), now)
        approver = Approver(
            key_id=signer.key_id(public),
            principal=principal,
            public_key=public.hex(),
            enrolled_at=now,
            enrolled_by=signer.key_id(signer.public_bytes(by)),
            signature=signer.sign(by, message).hex(),
        ).model_copy(update=altered)
        with self.store.write() as connection:
            rows.put(connection, tables.approver, approver)
        return approver

    # people ----------------------------------------------------------------------------------

    def grant(self, principal: str, roles: str, *, actor: str | None = None) -> Grant:
        """A grant over both tenants."""
        return new_grant(self.store, self.ports, principal, roles, actor, self.clock.now())

    def caller(self, principal: str) -> Caller:
        """The caller of a person's only grant, as it stands."""
        table = tables.grant
        with self.store.read() as connection:
            found = rows.first(connection, table, Grant, table.c.principal == principal)
        assert found is not None
        return Caller.of(found)

    # rows ------------------------------------------------------------------------------------

    def alter(self, table: Table, where: ColumnElement[bool], **values: Any) -> None:
        """Change rows from outside; at least one must match."""
        with self.store.write() as connection:
            assert rows.change(connection, table, where, **values) > 0, "nothing was altered"

    def alter_approval(self, run: Run, **values: Any) -> None:
        """Change the run's approval from outside."""
        self.alter(tables.approval, tables.approval.c.id == run.approval_id, **values)

    def alter_grant(self, person: str, /, **values: Any) -> None:
        """Change a person's grants from outside."""
        self.alter(tables.grant, tables.grant.c.principal == person, **values)

    def alter_run(self, run: Run, **values: Any) -> None:
        """Change the run from outside."""
        self.alter(tables.run, tables.run.c.id == run.id, **values)

    def put_tenant(self, tenant: str = TENANT, **values: Any) -> None:
        """Write a tenant past every rule."""
        given = {
            "id": tenant,
            "display_name": "A tenant",
            "state": "provision_failed",
            "isolation": "silo",
            "plan": "team",
            "region": "local",
        }
        with self.store.write() as connection:
            rows.put(connection, tables.tenant, Tenant.model_validate(given | values))

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        with self.store.read() as connection:
            found = run_row(connection, run_id)
        assert found is not None
        return found

    def approval(self, run: Run) -> Approval:
        """The run's approval as it stands."""
        with self.store.read() as connection:
            found = approval_row(connection, str(run.approval_id))
        assert found is not None
        return found

    def tenant(self, tenant: str = TENANT) -> Tenant | None:
        """The tenant as it stands."""
        with self.store.read() as connection:
            return tenant_row(connection, tenant)

    def effects(self) -> dict[str, Any]:
        """Everything that a run could have brought about."""
        with self.store.read() as connection:
            return {
                "applied": list(self.provisioner.applied),
                "stacks": sorted(self.provisioner._stacks),
                "steps": connection.execute(tables.run_step.select()).fetchall(),
                "tenants": connection.execute(tables.tenant.select()).fetchall(),
                "subscriptions": connection.execute(tables.subscription.select()).fetchall(),
                "permits": connection.execute(tables.permit.select()).fetchall(),
                "databases": sorted(
                    str(path) for path in self.workspace.data.rglob("*") if path.is_file()
                ),
            }

    def waiting(self) -> Run:
        """The run that the template left waiting."""
        return self.run(self.template.run_id)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()


def new_grant(
    store: Store, ports: Ports, principal: str, roles: str, actor: str | None, now: datetime
) -> Grant:
    asked = grants.parse_new_grant(
        principal=principal,
        actor=actor,
        roles=roles,
        tenants=f"{TENANT},{OTHER}",
        ttl="30d",
    )
    grant = asked.grant(RandomIds().new(), now)
    with store.write() as connection:
        grants.keep(connection, grant, ports.recorder)
    return grant
