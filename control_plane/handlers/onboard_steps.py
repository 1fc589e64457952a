"""The steps of onboarding, each with its inverse and its probe. Not their order of execution: the engine's."""

from __future__ import annotations

from sqlalchemy import Connection, select

from control_plane.commands import OnboardTenant
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.isolation import Isolation
from control_plane.domain.subscription import Subscription
from control_plane.domain.tenant import TENANT, Tenant
from control_plane.errors import Failed, Refused
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.provisioning.port import Provisioner
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import rows, tables


def stack_request(work: Work) -> StackRequest:
    """What the provisioner is asked for."""
    command = _command(work)
    return StackRequest.model_validate(
        {
            "tenant": command.tenant,
            "run_id": work.run.id,
            "cloud": "local",
            "isolation": command.proposed_isolation,
            "plan": command.proposed_plan,
            "region": command.proposed_region,
        }
    )


def provisioner_of(work: Work) -> Provisioner:
    """The provisioner; only the worker has one."""
    if work.ports.provisioner is None:
        raise Failed("Only the worker provisions.", code="not_the_worker")
    return work.ports.provisioner


def _command(work: Work) -> OnboardTenant:
    assert isinstance(work.command, OnboardTenant)
    return work.command


def _model(command: OnboardTenant) -> Isolation:
    if command.proposed_isolation not in ("silo", "pooled"):
        raise Refused("This isolation model is not offered here.", code="isolation_not_offered")
    return "silo" if command.proposed_isolation == "silo" else "pooled"


def _inside(connection: Connection | None) -> Connection:
    assert connection is not None, "an inside step is given the store's transaction"
    return connection


def register(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Write tenant (provisioning) and subscription (active: the plan is free, nothing is due)."""
    command, inside = _command(work), _inside(connection)
    offer = work.ports.catalog.plans.offer(command.proposed_plan)
    found = tenant_row(inside, command.tenant)
    values = {
        "display_name": command.display_name,
        "state": "provisioning",
        "isolation": command.proposed_isolation,
        "plan": command.proposed_plan,
        "region": command.proposed_region,
    }
    if found is None:
        rows.put(inside, tables.tenant, Tenant.model_validate({"id": command.tenant, **values}))
    else:
        values["state"] = TENANT.next(found.state, "provision")
        _move_tenant(inside, found, values)
    _subscribe(work, inside, offer.name, offer.version)
    return {"tenant": command.tenant}


def _subscribe(work: Work, connection: Connection, plan: str, version: int) -> None:
    found = subscription_row(connection, work.run.tenant)
    if found is None:
        made = Subscription.model_validate(
            {
                "id": work.run.id,
                "tenant": work.run.tenant,
                "plan": plan,
                "plan_version": version,
                "state": "active",
            }
        )
        kept = {c.name for c in tables.subscription.columns}
        values = {k: v for k, v in made.model_dump(mode="json").items() if k in kept}
        connection.execute(tables.subscription.insert().values(**{"version": 1, **values}))
        return
    rows.change(
        connection,
        tables.subscription,
        tables.subscription.c.tenant == work.run.tenant,
        plan=plan,
        plan_version=version,
        state="active",
        version=tables.subscription.c.version + 1,
    )


def _move_tenant(connection: Connection, tenant: Tenant, values: dict[str, str]) -> None:
    table = tables.tenant
    asserted = (table.c.id == tenant.id) & (table.c.version == tenant.version)
    changed = rows.change(connection, table, asserted, version=tenant.version + 1, **values)
    if changed != 1:
        raise Refused("The tenant changed in the meantime.", code="tenant_moved", fact="state")


def unregister(work: Work, connection: Connection | None) -> None:
    """Leave the tenant in a stable state that says what happened; its name stays its own."""
    inside = _inside(connection)
    tenant = tenant_row(inside, work.run.tenant)
    if tenant is None or tenant.state != "provisioning":
        return
    _move_tenant(inside, tenant, {"state": TENANT.next(tenant.state, "fail")})
    rows.change(
        inside,
        tables.subscription,
        tables.subscription.c.tenant == tenant.id,
        state="canceled",
        version=tables.subscription.c.version + 1,
    )


def provision(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Apply exactly the saved plan that was decided on."""
    run = work.run
    if work.ports.artifacts is None or run.artifact is None:
        raise Refused("The plan artifact is gone.", code="artifact_missing")
    now = instant(work.ports.clock.now())
    artifact = work.ports.artifacts.get(run.artifact, now)
    applied = provisioner_of(work).apply(
        stack_request(work), artifact, should_stop=work.should_stop
    )
    return {"outputs": plain(applied.outputs)}


def deprovision(work: Work, connection: Connection | None) -> None:
    """Destroy what the stack made; nothing happens where there is nothing."""
    provisioner_of(work).destroy(stack_request(work))


def probe_infrastructure(work: Work) -> Probe:
    """Whether the stack stands as planned."""
    return provisioner_of(work).settle(stack_request(work))


def create_database(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make the tenant's database, or its place in the shared one."""
    command = _command(work)
    work.ports.databases.create(
        command.tenant,
        _model(command),
        tuple(work.ports.catalog.collections.values()),
        work.epoch,
    )
    return {"model": command.proposed_isolation}


def drop_database(work: Work, connection: Connection | None) -> None:
    """Drop it again: onboarding has put no data into it."""
    command = _command(work)
    work.ports.databases.drop(command.tenant, _model(command), work.epoch)


def probe_database(work: Work) -> Probe:
    """Whether the database stands and can be used."""
    command = _command(work)
    collections = tuple(work.ports.catalog.collections.values())
    seen = work.ports.databases.probe(command.tenant, _model(command), collections)
    return "present" if seen == "ready" else seen


def verify_ready(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that stack and database are ready; never assume."""
    if probe_infrastructure(work) != "present":
        raise Failed("The stack is not as planned.", code="stack_not_ready", retryable=True)
    if probe_database(work) != "present":
        raise Failed("The database is not ready.", code="database_not_ready", retryable=True)
    # Open at this worker's epoch: a write decided before it finds the fence shut.
    command = _command(work)
    work.ports.databases.fence(command.tenant, _model(command), work.epoch, open=True)
    return {"ready": True, "data_epoch": work.epoch}


def activate(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Open the tenant."""
    inside = _inside(connection)
    tenant = tenant_row(inside, work.run.tenant)
    if tenant is None:
        raise Refused("The tenant is gone.", code="tenant_moved", fact="exists")
    _move_tenant(inside, tenant, {"state": TENANT.next(tenant.state, "succeed")})
    fence = tables.fence
    rows.change(inside, fence, fence.c.tenant == tenant.id, data_epoch=_data_epoch(work, inside))
    return {"state": "active"}


def _data_epoch(work: Work, connection: Connection) -> int:
    # A restart between the two steps has a later epoch than the one the database was opened at.
    table = tables.run_step
    where = (table.c.run_id == work.run.id) & (table.c.name == "verify")
    observed = connection.execute(select(table.c.observed).where(where)).scalar_one()
    return int(observed["data_epoch"])


STEPS: tuple[Step, ...] = (
    Step("register", do=register, undo=unregister),
    Step("provision", do=provision, undo=deprovision, probe=probe_infrastructure, outside=True),
    Step("database", do=create_database, undo=drop_database, probe=probe_database, outside=True),
    Step("verify", do=verify_ready, outside=True),
    Step("activate", do=activate, irreversible=True),
)
