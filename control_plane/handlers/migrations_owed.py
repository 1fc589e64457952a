"""Which migrations in force one tenant's database is behind with. It changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from control_plane.databases.migrated import migrated
from control_plane.domain.campaign import place_of
from control_plane.domain.home import Home
from control_plane.errors import Refused
from control_plane.fleet import campaigns
from control_plane.fleet.migration_file import Migration
from control_plane.handlers.fleet_plan import plan_digest
from control_plane.handlers.handler import Ports


@dataclass(frozen=True, slots=True)
class Owed:
    """What a database is to get up to `last`, behind `had`, the last one that it has.

    Of those in `standing` it has the tables already, and only its receipt is missing: where tenants
    share them, another one's turn was its own.
    """

    had: int
    last: int
    migrations: tuple[Migration, ...]
    standing: frozenset[int]

    @property
    def first(self) -> int:
        """The first of them."""
        return self.migrations[0].number

    @property
    def missing(self) -> tuple[Migration, ...]:
        """Those that would change something."""
        return tuple(one for one in self.migrations if one.number not in self.standing)


def reach(connection: Connection, ports: Ports, through: int) -> int:
    """The last migration that a tenant may be brought to by itself; 0 is as far as any campaign has begun.

    Refused: `migration_unknown`, `migration_not_in_force` (its turn is a campaign's, canary first).
    """
    if through > len(ports.catalog.migrations):
        raise Refused("There is no such migration.", code="migration_unknown", fact="through")
    last = campaigns.in_force(connection)
    if through > last:
        raise Refused(
            "No campaign has begun this migration.", code="migration_not_in_force", fact="through"
        )
    return through or last


def owed(connection: Connection, ports: Ports, tenant: str, home: Home, last: int) -> Owed:
    """What the tenant's database there is without up to `last`, as it says itself and our receipts do.

    Raises NotFound where there is no database.
    """
    with ports.databases.at(home).reading(tenant, home.isolation) as place:
        known = migrated(place)
    receipts = campaigns.receipts_of(connection, tenant)
    settled = {one.number for one in receipts if (one.place, one.state) == (place_of(home), "done")}
    stands = {one.number for one in known.values() if one.state == "done"}
    numbers = [one for one in range(1, last + 1) if one not in stands & settled]
    wanted = tuple(ports.catalog.migrations[one - 1] for one in numbers)
    had = max(stands, default=0)
    return Owed(had=had, last=last, migrations=wanted, standing=frozenset(stands & {*numbers}))


def require_owed(
    connection: Connection, ports: Ports, tenant: str, home: Home, through: int
) -> Owed:
    """What it is without of what it may have.

    Refused as `reach` says; `nothing_to_migrate`, where it has all of them and its receipts; and
    `migration_edited`.
    """
    found = owed(connection, ports, tenant, home, reach(connection, ports, through))
    if not found.migrations:
        raise Refused("The tenant has every migration that it may have.", code="nothing_to_migrate")
    _require_as_begun(connection, ports.catalog.migrations, found.first, found.last)
    return found


def _require_as_begun(
    connection: Connection, migrations: Sequence[Migration], first: int, last: int
) -> None:
    """What campaigns were approved for is what the catalog says now."""
    for one in campaigns.begun(connection):
        of_it = migrations[one.first - 1 : one.last]
        if one.last >= first and one.first <= last and plan_digest(of_it) != one.digest:
            raise Refused(
                "A campaign's migrations are no longer what they were.",
                code="migration_edited",
                fact="catalog",
            )
