"""The steps on a tenant's stack and database that several lifecycles share. Not a lifecycle, and no row of ours."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.domain.canonical import Json, instant, plain
from control_plane.errors import Failed, Refused
from control_plane.handlers.handler import Observed, Probe, Work
from control_plane.handlers.tenant_moves import model_of, tenant_now
from control_plane.provisioning.port import ObservedPlan, Provisioner
from control_plane.provisioning.stacks import StackRequest


def provisioner_of(work: Work) -> Provisioner:
    """The provisioner; only the worker has one."""
    if work.ports.provisioner is None:
        raise Failed("Only the worker provisions.", code="not_the_worker")
    return work.ports.provisioner


def stack_request(work: Work) -> StackRequest:
    """What the provisioner is asked for, by the tenant's row."""
    tenant = tenant_now(work)
    return requested(work, tenant.isolation, tenant.plan, tenant.region)


def requested(work: Work, isolation: str, plan: str, region: str) -> StackRequest:
    """The same by values in hand, where there is no row yet."""
    return StackRequest.model_validate(
        {
            "tenant": work.run.tenant,
            "run_id": work.run.id,
            "cloud": "local",
            "isolation": isolation,
            "plan": plan,
            "region": region,
        }
    )


def collections_of(work: Work) -> tuple[Collection, ...]:
    """The declared collections, as every engine takes them."""
    return tuple(work.ports.catalog.collections.values())


def observed(seen: ObservedPlan) -> Observed:
    """An observed plan's part in the digest, and its facts for the gate."""
    facts: dict[str, Json] = {
        "infra_creates": seen.facts.creates,
        "infra_deletes": seen.facts.deletes,
        "infra_replaces": seen.facts.replaces,
        "infra_stateful_deletes": len(seen.facts.stateful_deletes),
        "infra_local_exec": seen.facts.local_exec,
        # The provisioner plans a module with a provisioner only where its digest is admitted.
        "module_admitted": seen.facts.local_exec,
    }
    parts: dict[str, Json] = {
        "infrastructure": {"digest": seen.digest, "changes": plain(seen.projection)}
    }
    return Observed(parts=parts, facts=facts, artifact=seen.artifact)


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
        stack_request(work), saved_plan(work), should_stop=work.should_stop
    )
    return {"outputs": plain(applied.outputs)}


def deprovision(work: Work, connection: Connection | None) -> None:
    """Destroy what the stack made; nothing happens where there is nothing."""
    provisioner_of(work).destroy(stack_request(work))


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
    """Make the tenant's database, or its place in the shared one."""
    model = model_of(work)
    work.ports.databases.create(work.run.tenant, model, collections_of(work), work.epoch)
    return {"model": model}


def drop_database(work: Work, connection: Connection | None) -> None:
    """Drop it again: whatever is in it, this run has put there."""
    work.ports.databases.drop(work.run.tenant, model_of(work), work.epoch)


def probe_database(work: Work) -> Probe:
    """Whether the database stands and can be used."""
    seen = work.ports.databases.probe(work.run.tenant, model_of(work), collections_of(work))
    return "present" if seen == "ready" else seen


def verify_ready(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Observe that stack and database are ready; never assume."""
    if probe_infrastructure(work) != "present":
        raise Failed("The stack is not as planned.", code="stack_not_ready", retryable=True)
    if probe_database(work) != "present":
        raise Failed("The database is not ready.", code="database_not_ready", retryable=True)
    # Open at this worker's epoch: a write decided before it finds the fence shut.
    work.ports.databases.fence(work.run.tenant, model_of(work), work.epoch, open=True)
    return {"ready": True, "data_epoch": work.epoch}
