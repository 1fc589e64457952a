"""What is found and registered where our own store is lost: nothing that stands is touched, and all of it is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.domain.tenant import Tenant
from control_plane.errors import Refused
from control_plane.provisioning.clouds import choose
from control_plane.store import rows, tables
from control_plane.store.database_tables import database
from policies.gate import Gate
from server.protection import protect
from server.registry_rebuild import Revived
from server.registry_survey import Survey
from server.registry_wiring import Registry, fresh_store
from tests.support.approval_world import APPROVER, OTHER, TENANT, World
from tests.support.labelled_clouds import LabelledClouds, accounts_file, resource
from tests.support.lifecycle_bench import ADMIN, Bench, Onboarded, make_bench
from tests.support.offboarding import backups, records


def lost(bench: Bench, catalog: Path | None = None) -> Registry:
    """The same workspace after its store was lost, with a new one in its place; of another catalog, if any."""
    bench.world.store.close()
    workspace = replace(bench.world.workspace, catalog=catalog or bench.world.workspace.catalog)
    for path in workspace.store_db.parent.glob(f"{workspace.store_db.name}*"):
        path.unlink()
    store = fresh_store(workspace)
    return Registry(workspace, bench.world.settings, store)


def tenants(registry: Registry) -> list[Tenant]:
    """Who is registered."""
    with registry._store.read() as connection:
        return rows.every(connection, tables.tenant, Tenant, tables.tenant.c.id != "")


def surveyed(registry: Registry) -> tuple[Survey, list[Revived]]:
    """What is found, and what is registered of it."""
    seen = registry.survey()
    return seen, registry.write(seen, "team", "local")


def test_a_tenant_with_a_database_is_registered_shut_and_protected(bench: Bench) -> None:
    records(bench, 3)
    bench.do("database_backup")
    epoch = bench.world.ports.databases.main.open_at(TENANT, "pooled")
    (made,) = backups(bench)
    registry = lost(bench)
    seen, _ = surveyed(registry)
    (place,) = seen.databases
    assert (place.tenant, place.home.isolation, place.records) == (TENANT, "pooled", 3)
    (tenant,) = tenants(registry)
    assert (tenant.state, tenant.access_mode, tenant.deletion_protection) == (
        "suspended",
        "none",
        True,
    )
    # It stands as it stood.
    assert registry._databases.main.open_at(TENANT, "pooled") == epoch
    with registry._store.read() as connection:
        kept = connection.execute(select(tables.backup)).one()
        assert (kept.id, kept.verified_at) == (made.id, None)
        (stands,) = connection.execute(select(database)).all()
        assert (stands.purpose, stands.state) == ("serving", "stopped")
        fence = connection.execute(select(tables.fence)).one()
        assert (fence.epoch, fence.data_epoch) == (epoch, 0)
        (leaf,) = connection.execute(
            select(tables.audit_leaf.c.kind).where(tables.audit_leaf.c.tenant == TENANT)
        ).all()
        assert leaf.kind == "registry.rebuilt"
    registry.close()


@pytest.mark.long
def test_what_a_restore_has_left_is_no_serving_one(bench: Bench) -> None:
    records(bench, 1)
    bench.do("database_backup")
    run = bench.work(bench.propose("database_restore", backup=backups(bench)[0].id))
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    assert bench.work(run.id).state == "applied"
    registry = lost(bench)
    surveyed(registry)
    with registry._store.read() as connection:
        told = {one.slot: one.purpose for one in connection.execute(select(database))}
    assert told == {0: "former", 1: "serving"}
    assert tenants(registry)[0].slot == 1
    registry.close()


def test_of_whom_only_an_archive_is_left_can_be_restored_once_it_is_proven(away: Bench) -> None:
    registry = lost(away)
    seen, (revived,) = surveyed(registry)
    assert (seen.databases, len(seen.archives)) == ((), 1)
    assert revived.tenant.state == "deprovisioned"
    assert revived.backups[0].verified_at is not None
    assert revived.tenant.restorable_until == revived.backups[0].keep_until
    registry.close()


def test_an_archive_that_does_not_restore_is_registered_and_not_proven(away: Bench) -> None:
    (made,) = backups(away)
    path = away.world.workspace.backups / TENANT / f"{made.id}.archive"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    registry = lost(away)
    _, (revived,) = surveyed(registry)
    assert [one.verified_at for one in revived.backups] == [None]
    registry.close()


def test_a_manifest_that_is_not_to_be_believed_registers_nobody(away: Bench) -> None:
    (made,) = backups(away)
    path = away.world.workspace.backups / TENANT / f"{made.id}.json"
    path.write_bytes(path.read_bytes().replace(b"pooled", b"bridge", 1))
    registry = lost(away)
    seen, revived = surveyed(registry)
    assert [one.code for one in seen.archives] == ["manifest_forged"]
    assert (revived, tenants(registry)) == ([], [])
    registry.close()


def test_a_store_with_tenants_is_not_written_to(bench: Bench) -> None:
    registry = Registry(bench.world.workspace, bench.world.settings, bench.world.store)
    with pytest.raises(Refused) as caught:
        surveyed(registry)
    assert caught.value.code == "registry_not_empty"
    assert [one.state for one in tenants(registry)] == ["active"]
    registry.close()


def test_a_plan_that_is_not_on_offer_registers_nobody(bench: Bench) -> None:
    registry = lost(bench)
    with pytest.raises(Refused) as caught:
        registry.write(registry.survey(), "nothing", "local")
    assert (caught.value.code, tenants(registry)) == ("plan_absent", [])
    registry.close()


def state_of(world: World, tenant: str) -> str:
    """The state in which a tenant stands."""
    found = world.tenant(tenant)
    assert found is not None
    return found.state


def with_labels(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch, *named: str) -> Bench:
    """The same, its worker given accounts in which silo stacks with these tenants' labels stand."""
    ours = bench.world.workspace.id[:8]
    held = [resource(f"b-{one}", one, workspace=ours) for one in named]
    monkeypatch.setattr(choose, "adapter_for", LabelledClouds({"111111111111": held}).adapt)
    settings = bench.world.settings.model_copy(update={"clouds_file": accounts_file(folder)})
    return Bench(replace(bench.world, settings=settings))


def test_whom_labels_alone_name_is_shut_and_has_no_database(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = lost(with_labels(bench, tmp_path, monkeypatch, OTHER))
    surveyed(registry)
    found = {one.id: one for one in tenants(registry)}
    made = found[OTHER]
    assert (made.state, made.access_mode, made.deletion_protection) == ("suspended", "none", True)
    assert made.suspend_reasons == {"operator"}
    assert (made.cloud, made.region, made.isolation) == ("aws", "eu-central-1", "silo")
    # Its own stack is of another model than the database that serves it.
    assert (found[TENANT].cloud, found[TENANT].isolation) == ("local", "pooled")
    with registry._store.read() as connection:
        assert {one.tenant for one in connection.execute(select(database))} == {TENANT}
    registry.close()


@pytest.mark.long
def test_who_has_no_database_is_neither_opened_nor_removed(
    bench: Bench, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = lost(with_labels(bench, tmp_path, monkeypatch, OTHER))
    surveyed(registry)
    registry.close()
    template = replace(bench.world.template, workspace=bench.world.workspace)
    again = make_bench(Onboarded(template, {}), tmp_path / "again", gate)
    world = again.world
    world.grant(ADMIN, "platform_admin", actor="pam-bot")
    world.grant(APPROVER, "approver")
    world.enrol(APPROVER, template.approver_seed)
    resumed = again.work(again.propose("tenant_resume", ADMIN, tenant=OTHER, reason="operator"))
    assert (resumed.state, resumed.reason) == ("compensated", "stack_not_ready")
    assert state_of(world, OTHER) == "suspended"
    with world.store.write() as connection:
        protect(connection, world.ports.recorder, OTHER, deletion_protection=False)
    asked = {"tenant": OTHER, "cancel_subscription": False}
    run = again.work(again.propose("tenant_offboard", ADMIN, **asked))
    if run.state == "awaiting_approval":
        world.forge(run, seed=template.approver_seed)
        run = again.work(run.id)
    assert (run.state, run.reason) == ("compensated", "database_missing")
    assert state_of(world, OTHER) == "suspended"
    world.close()
