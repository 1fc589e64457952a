"""What stands of tenants where our own store is lost: by what servers, archives and labels say. Changes nothing, and knows no row of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

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
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.inventory import Inventory, Silence
from server.registry_stacks import NO_ISOLATION, NO_TENANT, FoundStack, isolation_of, stacks_of


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
class FoundTenant:
    """One tenant, with all that tells of it."""

    tenant: str
    databases: tuple[FoundDatabase, ...] = ()
    archives: tuple[FoundArchive, ...] = ()
    stacks: tuple[FoundStack, ...] = ()

    @property
    def manifests(self) -> list[Manifest]:
        """Those that are to be believed, the oldest first."""
        known = [one.manifest for one in self.archives if one.manifest is not None]
        return sorted(known, key=lambda one: one.made_at)

    @property
    def state(self) -> Literal["suspended", "deprovisioned"] | None:
        """The state that it is registered in; None where what tells of it is not enough.

        Of whom only labels tell, something stands: nothing may be made, nor removed, in its name.
        """
        if self.databases:
            return "suspended"
        if self.manifests:
            return "deprovisioned"
        return None if isolation_of(self.stacks) is None else "suspended"

    def told(self) -> dict[str, Any]:
        """For the report."""
        by = {"databases": self.databases, "archives": self.archives, "labels": self.stacks}
        return {
            "tenant": self.tenant,
            "known_by": [name for name, found in by.items() if found],
            "state": self.state,
            "code": None if self.state is not None else self._why,
        }

    @property
    def _why(self) -> str:
        return next((one.code for one in self.archives if one.code), NO_ISOLATION)


@dataclass(frozen=True)
class Survey:
    """All that was found, and which servers and clouds did not say."""

    databases: tuple[FoundDatabase, ...] = ()
    archives: tuple[FoundArchive, ...] = ()
    stacks: tuple[FoundStack, ...] = ()
    silent: tuple[tuple[str, str], ...] = ()
    silent_clouds: tuple[Silence, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everybody who was asked has answered."""
        return not self.silent and not self.silent_clouds

    @cached_property
    def tenants(self) -> tuple[FoundTenant, ...]:
        """Everybody who is told of, by name, once."""
        stacks = [one for one in self.stacks if one.code != NO_TENANT]
        names = {one.tenant for one in self.databases} | {one.tenant for one in self.archives}
        names |= {one.tenant for one in stacks}
        return tuple(
            FoundTenant(
                name,
                tuple(one for one in self.databases if one.tenant == name),
                tuple(one for one in self.archives if one.tenant == name),
                tuple(one for one in stacks if one.tenant == name),
            )
            for name in sorted(names)
        )

    def told(self) -> dict[str, Any]:
        """The whole report."""
        return {
            "tenants": [one.told() for one in self.tenants],
            "databases": [one.told() for one in self.databases],
            "archives": [one.told() for one in self.archives],
            "stacks": [one.told() for one in self.stacks],
            "servers_that_do_not_answer": [
                {"server": one, "code": code} for one, code in self.silent
            ],
            "clouds_that_do_not_answer": [one._asdict() for one in self.silent_clouds],
            "complete": self.complete,
        }


def survey(
    databases: DatabaseServers,
    archives: Archives,
    looked: Inventory,
    clouds: Clouds,
) -> Survey:
    """Look on every server, in every place, and into the folder of archives.

    ``looked`` is what the accounts of ``clouds`` have told already.
    """
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
    return Survey(
        databases=tuple(sorted(found, key=_place)),
        archives=tuple(kept),
        stacks=stacks_of(looked.found, clouds),
        silent=tuple(silent),
        silent_clouds=looked.silent,
    )


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
