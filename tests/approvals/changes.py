"""Changes to the world behind a plan: those that it read, and those that it did not. Not a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.store import tables
from server.catalog import Catalog
from tests.support.approval_world import OTHER, REQUESTER, START, TENANT, World
from tests.support.charges import MONTHLY

LATER = timedelta(minutes=10)
Change = Callable[[World, Run], World | None]


# what the plan or the decision read --------------------------------------------------------------


def offer(**changed: Any) -> Change:
    """The catalog's offer is another; its digest still says what it said."""

    def change(world: World, _run: Run) -> World:
        catalog = world.ports.catalog
        assert isinstance(catalog, Catalog)
        plans = tuple(
            one.model_copy(update=changed) if one.name == "team" else one
            for one in catalog.plans.plans
        )
        plans_now = catalog.plans.model_copy(update={"plans": plans})
        return world.with_catalog(replace(catalog, plans=plans_now))

    return change


def catalog_digest(world: World, _run: Run) -> World:
    catalog = world.ports.catalog
    assert isinstance(catalog, Catalog)
    return world.with_catalog(replace(catalog, digest="f" * 64))


def one_collection_less(world: World, _run: Run) -> World:
    catalog = world.ports.catalog
    assert isinstance(catalog, Catalog)
    return world.with_catalog(replace(catalog, collections={}))


def plan_withdrawn(world: World, _run: Run) -> World:
    catalog = world.ports.catalog
    assert isinstance(catalog, Catalog)
    left = tuple(one for one in catalog.plans.plans if one.name != "team")
    return world.with_catalog(
        replace(catalog, plans=catalog.plans.model_copy(update={"plans": left}))
    )


def setting(name: str, value: str) -> Change:
    return lambda world, _run: world.alter(
        tables.setting, tables.setting.c.name == name, value=value
    )


def tenant_appears(**values: Any) -> Change:
    return lambda world, _run: world.put_tenant(**values)


def of_tenant(**values: Any) -> Change:
    return lambda world, _run: world.alter(tables.tenant, tables.tenant.c.id == TENANT, **values)


def subscribed(world: World, _run: Run) -> None:
    with world.store.write() as connection:
        connection.execute(
            tables.subscription.insert().values(
                id="s" * 32,
                tenant=TENANT,
                plan="team",
                plan_version=1,
                state="canceled",
                cancel_at_period_end=False,
                version=1,
            )
        )


def requester(**values: Any) -> Change:
    return lambda world, _run: world.alter_grant(REQUESTER, **values)


def infrastructure(world: World, run: Run) -> None:
    parts: Any = run.plan and run.plan["parts"]
    seen = {**parts["infrastructure"], "digest": "0" * 64}
    world.alter_run(run, plan={**(run.plan or {}), "parts": {**parts, "infrastructure": seen}})


def infrastructure_facts(world: World, run: Run) -> None:
    world.alter_run(run, plan_facts={**(run.plan_facts or {}), "infra_creates": 2})


def command(**changed: Any) -> Change:
    return lambda world, run: world.alter_run(run, command={**run.command, **changed})


def as_of(world: World, run: Run) -> None:
    world.alter_run(run, as_of=instant(START - timedelta(minutes=1)))


def artifact_gone(world: World, run: Run) -> None:
    with world.store.write() as connection:
        connection.execute(tables.artifact.delete())


def artifact_expired(world: World, run: Run) -> None:
    world.alter(
        tables.artifact, tables.artifact.c.run_id == run.id, expires_at=instant(world.clock.now())
    )


def artifact_altered(world: World, run: Run) -> None:
    with world.store.read() as connection:
        sealed = connection.execute(tables.artifact.select()).one().sealed
    world.alter(
        tables.artifact,
        tables.artifact.c.run_id == run.id,
        sealed=sealed[:-1] + bytes([sealed[-1] ^ 1]),
    )


def artifact_exchanged(world: World, run: Run) -> None:
    """Another artifact, sealed as it should be: only it is not the one that was approved."""
    artifacts = world.ports.artifacts
    assert artifacts is not None
    with world.store.write() as connection:
        expires = instant(world.clock.now() + timedelta(hours=1))
        reference = artifacts.put(connection, run.id, b"another plan", expires)
    world.alter_run(run, artifact=reference)


def artifact_denied(world: World, run: Run) -> None:
    """As if the plan had been one that needs no artifact."""
    parts: Any = run.plan and run.plan["parts"]
    kept = {name: part for name, part in parts.items() if name != "artifact"}
    world.alter_run(run, artifact=None, plan={**(run.plan or {}), "parts": kept})


RELEVANT: dict[str, tuple[Change, set[str]]] = {
    "the offer has another price": (offer(charges=(MONTHLY,)), {"payment_required"}),
    "the offer has another version": (offer(version=2), {"digest_changed"}),
    "the offer has other quotas": (offer(title="Other"), {"digest_changed"}),
    "the offer has one isolation less": (
        offer(isolations=("pooled", "silo")),
        {"digest_changed"},
    ),
    "the offer has no silo": (offer(isolations=("pooled",)), {"isolation_not_in_plan"}),
    "the offer has another region": (offer(regions=("moon",)), {"region_not_in_plan"}),
    "the offer has one more region": (offer(regions=("local", "moon")), {"digest_changed"}),
    "the plan was withdrawn": (plan_withdrawn, {"plan_not_found"}),
    "the catalog has another digest": (catalog_digest, {"digest_changed"}),
    "the catalog has no collections": (one_collection_less, {"digest_changed"}),
    "the approval rule is another": (
        setting("approval.rule", "own_hand"),
        {"approval_void", "digest_changed"},
    ),
    "the tenant is there": (tenant_appears(state="active"), {"tenant_state"}),
    "the tenant is there, and failed": (tenant_appears(), {"digest_changed"}),
    "the tenant is suspended": (
        tenant_appears(state="suspended", suspend_reasons=frozenset({"billing"})),
        {"tenant_state"},
    ),
    "the grant is revoked": (requester(revoked_at=instant(START)), {"grant_ended"}),
    "the grant is over": (requester(expires_at=instant(START + LATER)), {"grant_ended"}),
    "the grant has another tenant": (requester(tenants=[OTHER]), {"not_found"}),
    "the grant has a lesser role": (requester(roles=["viewer"]), {"tool_not_allowed"}),
    "the grant has a lower ceiling": (requester(ceiling=["viewer"]), {"tool_not_allowed"}),
    "the grant is another person's": (requester(principal="mallory"), {"grant_ended"}),
    "the infrastructure is another": (infrastructure, {"digest_changed"}),
    "the infrastructure's facts are others": (infrastructure_facts, {"digest_changed"}),
    "the command has another name": (command(display_name="Other"), {"digest_changed"}),
    "the command has another isolation": (
        command(proposed_isolation="pooled"),
        {"digest_changed"},
    ),
    "the command has another tenant": (command(tenant=OTHER), {"digest_changed"}),
    "the instant is another": (as_of, {"digest_changed"}),
    "the artifact is gone": (artifact_gone, {"artifact_missing"}),
    "the artifact is expired": (artifact_expired, {"artifact_expired"}),
    "the artifact is altered": (artifact_altered, {"artifact_altered"}),
    "the artifact is another": (artifact_exchanged, {"artifact_altered"}),
    "the plan names no artifact": (artifact_denied, {"digest_changed"}),
}

# Of a tenant that stands already, since an onboarding of it has failed before.
RELEVANT_OF_STANDING: dict[str, tuple[Change, set[str]]] = {
    "its state is another open one": (of_tenant(state="pending"), {"digest_changed"}),
    "its state is shut": (of_tenant(state="active"), {"tenant_state"}),
    "its access is read-only": (of_tenant(access_mode="read_only"), {"digest_changed"}),
    "its access is shut": (of_tenant(access_mode="none"), {"digest_changed"}),
    "its isolation is another": (of_tenant(isolation="pooled"), {"digest_changed"}),
    "its plan is another": (of_tenant(plan="free"), {"digest_changed"}),
    "it is cordoned": (of_tenant(cordoned=True), {"digest_changed"}),
    "it has a subscription": (subscribed, {"digest_changed"}),
}


# what neither of them read -------------------------------------------------------------------------


def another_tenant_comes(world: World, _run: Run) -> None:
    run = world.work(world.propose(OTHER, isolation="pooled"))
    assert run.state == "applied", run


def another_grant(world: World, _run: Run) -> None:
    world.grant("carol", "operator", actor="helper")
    world.grant("dora", "approver")


def another_approver(world: World, _run: Run) -> None:
    world.enrol("dora", bytes(range(32)))


def woken_for_nothing(world: World, run: Run) -> None:
    world.job(run.id)


UNRELATED: dict[str, Change] = {
    "its name": of_tenant(display_name="Another name"),
    "its legal hold": of_tenant(legal_hold=True),
    "its deletion protection": of_tenant(deletion_protection=False),
    "its version": of_tenant(version=7),
    "another tenant": another_tenant_comes,
    "another grant for the tenant": another_grant,
    "another approver": another_approver,
    "another job": woken_for_nothing,
}
