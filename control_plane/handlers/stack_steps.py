"""The steps on a tenant's stack and database that several lifecycles share. Not a lifecycle, and no row of ours."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.tenant import Tenant
from control_plane.errors import Failed, Refused
from control_plane.handlers import stack_home
from control_plane.handlers.fleet_bring_up import bring_up
from control_plane.handlers.handler import Observed, Probe, Work
from control_plane.handlers.tenant_moves import database_of, tenant_now
from control_plane.provisioning.port import ObservedPlan, Provisioner
from control_plane.provisioning.stacks import StackRequest


def provisioner_of(work: Work) -> Provisioner:
    """The provisioner; only the worker has one."""
    if work.ports.provisioner is None:
        raise Failed("Only the worker provisions.", code="not_the_worker")
    return work.ports.provisioner


def stack_request(work: Work) -> StackRequest:
    """What the provisioner is asked for, by the tenant's row."""
    return request_of(work, tenant_now(work))


def request_of(work: Work, tenant: Tenant) -> StackRequest:
    """The same of a row in hand."""
    return requested(work, tenant.cloud, tenant.isolation, tenant.plan, tenant.region)


def requested(work: Work, cloud: str, isolation: str, plan: str, region: str) -> StackRequest:
    """The same by values in hand, where there is no row yet."""
    offer = work.ports.catalog.plans.offer(plan)
    return StackRequest.model_validate(
        {
            "tenant": work.run.tenant,
            "run_id": work.run.id,
            "cloud": cloud,
            "isolation": isolation,
            "plan": plan,
            "region": region,
            "size": offer.size,
            "workspace": work.ports.workspace,
        }
    )


def collections_of(work: Work) -> tuple[Collection, ...]:
    """The declared collections, as every engine takes them."""
    return tuple(work.ports.catalog.collections.values())


def observed(seen: ObservedPlan) -> Observed:
    """An observed plan's part in the digest, and its facts for the gate."""
    found = seen.facts
    facts: dict[str, Json] = {
        "infra_creates": found.creates,
        "infra_updates": found.updates,
        "infra_deletes": found.deletes,
        "infra_replaces": found.replaces,
        "infra_blast_radius": found.blast_radius,
        "infra_stateful_deletes": len(found.stateful_deletes),
        "infra_local_exec": found.local_exec,
        "infra_reaches_out": len(found.reaches_out),
        "infra_public_ingress": len(found.public_ingress),
        "infra_unencrypted": len(found.unencrypted),
        "infra_iam_wildcards": len(found.iam_wildcards),
        "infra_iam_unread": len(found.iam_unread),
        "infra_untagged": len(found.untagged),
        "infra_foreign": len(found.touched_others),
        "infra_drift": found.drift,
        "infra_regions": list(found.regions),
        "infra_monthly_cost_minor": found.monthly_cost_minor,
        "infra_unpriced": len(found.unpriced),
        # The provisioner plans a module with a provisioner only where its digest is admitted.
        "module_admitted": found.local_exec,
    }
    infrastructure: dict[str, Json] = {
        "digest": seen.digest,
        "changes": plain(seen.projection),
        "found": plain(found),
    }
    return Observed(parts={"infrastructure": infrastructure}, facts=facts, artifact=seen.artifact)


# The stack -----------------------------------------------------------------------------------


def saved_plan(work: Work) -> bytes:
    """The artifact that was decided on; Refused when it is missing or expired."""
    run = work.run
    if work.ports.artifacts is None or run.artifact is None:
        raise Refused("The plan artifact is gone.", code="artifact_missing")
    return work.ports.artifacts.get(run.artifact, instant(work.ports.clock.now()))


def provision(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Apply exactly the saved plan that was decided on."""
    applied = provisioner_of(work).apply(
        stack_request(work), saved_plan(work), should_stop=work.should_stop, tell=work.tell
    )
    return {"outputs": plain(applied.outputs), "resources": plain(applied.resources)}


def deprovision(work: Work, connection: Connection | None) -> None:
    """Destroy what the stack made; nothing happens where there is nothing."""
    request = stack_request(work)
    stack_home.leave(work, request)
    provisioner_of(work).destroy(request)


def probe_infrastructure(work: Work) -> Probe:
    """Whether the stack stands as planned."""
    return provisioner_of(work).settle(stack_request(work))


def beating(work: Work) -> Callable[[], bool]:
    """A sign of life that never says to stop: for what is beyond being called off."""

    def beat() -> bool:
        work.should_stop()
        return False

    return beat


# The database --------------------------------------------------------------------------------


def create_database(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make the tenant's database, or its place in the shared one; its server first, where its stack has one."""
    adopted = stack_home.adopt(work, tenant_now(work).home, stack_request(work))
    engine, model = database_of(work)
    engine.create(work.run.tenant, model, collections_of(work), work.epoch)
    return {"model": model, **adopted}


def drop_database(work: Work, connection: Connection | None) -> None:
    """Drop it again: whatever is in it, this run has put there."""
    if not stack_home.is_there(work, tenant_now(work).home):
        return
    engine, model = database_of(work)
    engine.drop(work.run.tenant, model, work.epoch)


def probe_database(work: Work) -> Probe:
    """Whether the database stands and can be used."""
    if not stack_home.is_there(work, tenant_now(work).home):
        return "absent"
    engine, model = database_of(work)
    seen = engine.probe(work.run.tenant, model, collections_of(work))
    return "present" if seen == "ready" else seen


def verify_ready(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that stack and database are ready; never assume."""
    stands = provisioner_of(work).look(stack_request(work), should_stop=work.should_stop)
    if stands.settled != "present":
        raise Failed("The stack is not as planned.", code="stack_not_ready", retryable=True)
    # Made just now, or back after others went on: it leaves here with every migration in force.
    bring_up(work)
    if probe_database(work) != "present":
        raise Failed("The database is not ready.", code="database_not_ready", retryable=True)
    # Open at this worker's epoch: a write decided before it finds the fence shut.
    engine, model = database_of(work)
    engine.fence(work.run.tenant, model, work.epoch, open=True)
    held: dict[str, Json] = {
        "outputs": plain(stands.outputs),
        "resources": plain(stands.resources),
    }
    return {"ready": True, "data_epoch": work.epoch, "stack": held}
