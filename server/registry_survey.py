"""What stands of tenants where our own store is lost: by what servers and archives say. Changes nothing, and knows no row of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from control_plane.data.record_count import records_of
from control_plane.data.tables import FENCE
from control_plane.databases.port import DatabaseServers
from control_plane.databases.served import served
from control_plane.domain.backup_manifest import Manifest
from control_plane.domain.home import SLOTS, Home
from control_plane.domain.isolation import Isolation
from control_plane.errors import PaybillError
from control_plane.ports import Archives


@dataclass(frozen=True)
class FoundDatabase:
    """A place that something of a tenant stands in; ``code`` says why it tells nothing of itself."""

    tenant: str
    home: Home
    epoch: int = 0
    open: bool = False
    schema_digest: str | None = None
    records: int | None = None
    code: str = ""

    def told(self) -> dict[str, Any]:
        """For the report."""
        return {
            "tenant": self.tenant,
            **self.home._asdict(),
            "open": self.open,
            "epoch": self.epoch,
            "records": self.records,
            "schema_digest": self.schema_digest,
            "code": self.code or None,
        }


@dataclass(frozen=True)
class FoundArchive:
    """An archive that lies there; without a manifest to believe, ``code`` says why."""

    tenant: str
    backup_id: str
    manifest: Manifest | None
    code: str = ""

    def told(self) -> dict[str, Any]:
        """For the report."""
        known = self.manifest
        return {
            "tenant": self.tenant,
            "backup": self.backup_id,
            "made_at": None if known is None else known.made_at,
            "restorable_until": None if known is None else known.restorable_until,
            "isolation": None if known is None else known.isolation,
            "code": self.code or None,
        }


@dataclass(frozen=True)
class Survey:
    """All that was found, and which servers did not say."""

    databases: tuple[FoundDatabase, ...] = ()
    archives: tuple[FoundArchive, ...] = ()
    silent: tuple[tuple[str, str], ...] = field(default=())

    def told(self) -> dict[str, Any]:
        """The whole report."""
        return {
            "databases": [one.told() for one in self.databases],
            "archives": [one.told() for one in self.archives],
            "servers_that_do_not_answer": [
                {"server": one, "code": code} for one, code in self.silent
            ],
        }


def survey(databases: DatabaseServers, archives: Archives) -> Survey:
    """Look on every server, in every place, and into the folder of archives."""
    found: list[FoundDatabase] = []
    silent: list[tuple[str, str]] = []
    for server in databases.names:
        try:
            found += _on_server(databases, server)
        except PaybillError as error:
            silent.append((server, error.code))
    kept = [
        FoundArchive(one.tenant, one.backup_id, one.manifest, one.code or "")
        for one in archives.manifests()
    ]
    return Survey(tuple(sorted(found, key=_place)), tuple(kept), tuple(silent))


def _on_server(databases: DatabaseServers, server: str) -> Iterable[FoundDatabase]:
    for slot in SLOTS:
        # Which model is named does not matter: a server has one engine a slot.
        for tenant, model in databases.at(Home("pooled", server, slot)).found():
            yield _looked_at(databases, tenant, Home(model, server, slot))


def _looked_at(databases: DatabaseServers, tenant: str, home: Home) -> FoundDatabase:
    model: Isolation = home.isolation
    stands = select(FENCE.c.epoch, FENCE.c.open).where(FENCE.c.tenant_id == tenant)
    try:
        with databases.at(home).reading(tenant, model) as connection:
            fence = connection.execute(stands).one()
            return FoundDatabase(
                tenant,
                home,
                int(fence.epoch),
                bool(fence.open),
                served(connection).current,
                records_of(connection, tenant),
            )
    except PaybillError as error:
        return FoundDatabase(tenant, home, code=error.code)


def _place(one: FoundDatabase) -> tuple[str, str, str, int]:
    return (one.tenant, one.home.server, one.home.isolation, one.home.slot)
