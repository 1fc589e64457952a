"""Registers what was found where our own store is lost, so that nothing is touched before a human has looked. Finds nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, func, select

from control_plane.data import archive
from control_plane.data.collection import Collection
from control_plane.data.tables import schema_digest
from control_plane.databases.port import DatabaseServers
from control_plane.domain.backup_manifest import Manifest
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, digest, instant, plain
from control_plane.domain.database import Database
from control_plane.domain.home import Home
from control_plane.domain.plans import PlanCatalog
from control_plane.domain.tenant import Tenant
from control_plane.errors import PaybillError, Refused
from control_plane.fleet.migration_file import Migration
from control_plane.fleet.scratch import lead
from control_plane.ports import Archives, Recorder, Store
from control_plane.store import rows, tables
from control_plane.store.database_tables import database
from server.registry_stacks import isolation_of, place_of
from server.registry_survey import FoundDatabase, FoundTenant, Survey

LEAF = "registry.rebuilt"
# One that has no epoch to be after stands shut, and the first run that comes opens it.
_NO_RUN = ""


@dataclass(frozen=True)
class Terms:
    """What nothing that is found says of a tenant: the plan and region that each is put down under."""

    plan: str
    region: str


@dataclass(frozen=True)
class Revived:
    """One tenant as it is registered: its databases, the first to serve, and its backups."""

    tenant: Tenant
    databases: tuple[Database, ...]
    backups: tuple[Backup, ...]
    epoch: int

    def told(self) -> dict[str, Any]:
        """For the report."""
        return {
            "tenant": self.tenant.id,
            "state": self.tenant.state,
            "cloud": self.tenant.cloud,
            "region": self.tenant.region,
            "databases": len(self.databases),
            "backups": len(self.backups),
        }


class Rebuilding:
    """Over a store in which no tenant is; writes everything in one transaction."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        databases: DatabaseServers,
        archives: Archives,
        collections: Sequence[Collection],
        plans: PlanCatalog,
        migrations: Sequence[Migration],
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._databases = databases
        self._archives = archives
        self._collections = collections
        self._plans = plans
        self._migrations = migrations

    def write(self, found: Survey, terms: Terms, now: datetime) -> list[Revived]:
        """Register every tenant that was found.

        One with a database is suspended, under the reason `operator`, and protected from deletion;
        one of which an archive alone is left can be restored, if that was proven just now. One that
        labels alone name is suspended likewise, without a database: its name is nobody else's, and
        it neither opens nor is removed without one. Nothing that stands is touched. Raises Refused (`registry_not_empty`, `plan_absent`), NotFound.
        """
        if terms.plan not in {one.name for one in self._plans.plans}:
            raise Refused("There is no such plan.", code="plan_absent", rule="catalog.plans")
        revived = [self._revived(one, terms, now) for one in found.tenants if one.state is not None]
        with self._store.write() as connection:
            if connection.execute(select(func.count()).select_from(tables.tenant)).scalar_one():
                raise Refused("There are tenants in the store.", code="registry_not_empty")
            for one in revived:
                self._put(connection, one)
        return revived

    def _put(self, connection: Connection, one: Revived) -> None:
        rows.put(connection, tables.tenant, one.tenant)
        for kept in one.databases:
            rows.put(connection, database, kept)
        for backup in one.backups:
            rows.put(connection, tables.backup, backup)
        # A later run must come after whatever has been there.
        fence = tables.fence.insert().values(
            tenant=one.tenant.id, epoch=one.epoch, run_id=None, data_epoch=0
        )
        connection.execute(fence)
        guards = (
            (tables.tenant.name, one.tenant.id),
            *((database.name, each.id) for each in one.databases),
            *((tables.backup.name, each.id) for each in one.backups),
        )
        payload: dict[str, Json] = {**one.told()}
        self._recorder.record(connection, LEAF, one.tenant.id, payload, guards)

    def _revived(self, found: FoundTenant, terms: Terms, now: datetime) -> Revived:
        manifests, stands = found.manifests, _in_order(found.databases)
        backups = [_backup(one) for one in manifests]
        if not stands and manifests and self._restores(manifests[-1], now):
            backups[-1] = backups[-1].model_copy(update={"verified_at": instant(now)})
        home = _home(found, stands)
        # Where labels leave it open, nothing is made of them: the tenant does not open there.
        cloud, region = place_of(found.stacks, home.isolation) or ("local", terms.region)
        gone = found.state == "deprovisioned"
        made = Tenant(
            id=found.tenant,
            display_name=found.tenant,
            state="deprovisioned" if gone else "suspended",
            isolation=home.isolation,
            plan=terms.plan,
            cloud=cloud,
            region=region,
            server=home.server,
            slot=home.slot,
            access_mode="none",
            suspend_reasons=frozenset({"operator"}),
            deletion_protection=True,
            restorable_until=manifests[-1].restorable_until if gone else None,
        )
        known = tuple(
            _database(one, "serving" if place == 0 else "former", now)
            for place, one in enumerate(stands)
        )
        return Revived(made, known, tuple(backups), max((one.epoch for one in stands), default=0))

    def _restores(self, manifest: Manifest, now: datetime) -> bool:
        """Whether the archive, loaded on trial, comes to what its manifest says."""
        if manifest.kind != "canonical" or manifest.schema_digest != schema_digest(
            self._collections
        ):
            return False
        tenant = manifest.tenant
        trial_at = self._databases.main.scratch(tenant, manifest.isolation, self._collections)
        try:
            with (
                self._archives.open(tenant, manifest.backup_id, manifest.archive_digest) as source,
                trial_at as trial,
            ):
                if manifest.team is not None:
                    names = {one.name for one in self._collections}
                    lead(trial, self._migrations, names, manifest.team.migrations, now)
                archive.load_tenant(trial, self._collections, tenant, source)
                restored = plain(archive.summary(trial, self._collections, tenant))
        except PaybillError:
            return False
        return restored == archive.told(_contents(manifest))


def _home(found: FoundTenant, stands: Sequence[FoundDatabase]) -> Home:
    if stands:
        return stands[0].home
    if manifests := found.manifests:
        return Home(manifests[-1].isolation, manifests[-1].server)
    isolation = isolation_of(found.stacks)
    assert isolation is not None, "who has no state is not registered"
    return Home(isolation)


def _in_order(mine: Sequence[FoundDatabase]) -> list[FoundDatabase]:
    """The one that served first: open before closed, and by the last epoch that was there."""
    return sorted(mine, key=lambda one: (not one.open, -one.epoch, one.home.slot))


def _database(one: FoundDatabase, purpose: str, now: datetime) -> Database:
    at = instant(now)
    return Database.model_validate(
        {
            "id": digest({"database": [one.tenant, *one.home]})[:32],
            "tenant": one.tenant,
            "server": one.home.server,
            "isolation": one.home.isolation,
            "slot": one.home.slot,
            "purpose": purpose,
            "state": "stopped" if purpose == "serving" else "available",
            "run_id": _NO_RUN,
            "made_at": at,
            "changed_at": at,
        }
    )


def _backup(manifest: Manifest) -> Backup:
    return Backup(
        id=manifest.backup_id,
        tenant=manifest.tenant,
        run_id=_NO_RUN,
        isolation=manifest.isolation,
        made_at=manifest.made_at,
        digest=manifest.archive_digest,
        bytes=manifest.archive_bytes,
        contents=_contents(manifest),
        schema_digest=manifest.schema_digest,
        keep_until=manifest.restorable_until,
        kind=manifest.kind,
        key_version=manifest.key_version,
    )


def _contents(manifest: Manifest) -> dict[str, Json]:
    found = cast("Mapping[str, Json]", plain(manifest.tables))
    said = None if manifest.team is None else plain(manifest.team)
    return {"schema_digest": manifest.schema_digest, "tables": dict(found), "team": said}
