"""What a campaign would do: which migrations, which databases, in which order, for how long. It changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from control_plane.domain.campaign import Campaign, in_order, place_of, stage_sizes
from control_plane.domain.canonical import Json, digest
from control_plane.domain.home import Home
from control_plane.errors import Refused
from control_plane.fleet.campaigns import (
    finished,
    in_force,
    open_campaign,
    standing_members,
)
from control_plane.fleet.migration_file import Migration
from control_plane.handlers.database_rows import homes
from control_plane.handlers.handler import Ports
from control_plane.store import tables

_WITHOUT: Final = ("pending", "deprovisioned", "purged")
_ROWS: Final = ("update", "delete", "insert")
# Of one database, where nothing is known yet: a connection, a transaction, a row of ours.
_EACH_MS: Final = 60
AT_ONCE: Final = 4
_SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The migrations from `first` to `last`, and who is to have them, in order."""

    first: int
    last: int
    migrations: tuple[Migration, ...]
    members: tuple[tuple[str, Home], ...]
    resumed: Campaign | None

    @property
    def digest(self) -> str:
        """Over every migration with its text, and nothing of the tenants."""
        return plan_digest(self.migrations)


def plan_digest(migrations: Sequence[Migration]) -> str:
    """SHA-256 over migrations with their texts, in order."""
    return digest({"fleet": [[one.name, one.digest] for one in migrations]})


def members(connection: Connection) -> list[tuple[str, Home]]:
    """Every database that may stand, by tenant: suspended tenants' too, and none of who is gone."""
    table = tables.tenant
    gone = select(table.c.id).where(table.c.state.in_(_WITHOUT))
    without = set(connection.execute(gone).scalars())
    return [(tenant, home) for tenant, home in homes(connection) if tenant not in without]


def planned(connection: Connection, ports: Ports, through: int) -> FleetPlan:
    """What a campaign through that migration is; 0 is as far as it may go now.

    Raises Refused: `nothing_to_migrate`, `migration_unknown`, `fleet_migration_open` (one that rests
    leads elsewhere), `migration_edited`, `expand_not_everywhere`.
    """
    migrations = ports.catalog.migrations
    resumed = open_campaign(connection)
    if resumed is not None:
        return _resumed(connection, migrations, resumed, through)
    first = in_force(connection) + 1
    if through > len(migrations):
        raise Refused("There is no such migration.", code="migration_unknown", fact="through")
    last = through or _reach(connection, migrations, first)
    if last < first:
        raise Refused(
            "Every tenant has every migration that it may have.", code="nothing_to_migrate"
        )
    wanted = migrations[first - 1 : last]
    for one in wanted:
        _require_expanded(connection, migrations, one, first)
    everybody = in_order(plan_digest(wanted), members(connection))
    return FleetPlan(first, last, wanted, tuple(everybody), None)


def parts_of(plan: FleetPlan) -> dict[str, Json]:
    """What a plan shows, and its digest is over."""
    canary, wave, rest = stage_sizes(len(plan.members))
    shown = [f"{tenant} {place_of(home)}" for tenant, home in plan.members[:_SHOWN_MAX]]
    told: list[Json] = [told_migration(one) for one in plan.migrations]
    return {
        "fleet": {
            "campaign": None if plan.resumed is None else plan.resumed.id,
            "first": plan.first,
            "last": plan.last,
            "digest": plan.digest,
            "migrations": told,
            "databases": len(plan.members),
            "order": {"shown": [*shown], "left_out": max(0, len(plan.members) - _SHOWN_MAX)},
            "everybody": digest({"fleet": [[one, place_of(home)] for one, home in plan.members]}),
            "stages": {"canary": canary, "wave": wave, "rest": rest},
            "estimated_s": -(
                -len(plan.members) * len(plan.migrations) * _EACH_MS // AT_ONCE // 1_000
            ),
        }
    }


def facts_of(plan: FleetPlan, ports: Ports) -> dict[str, Json]:
    """What policy is told of it."""
    return {"databases": len(plan.members), **weighed(plan.migrations, ports)}


def weighed(migrations: Sequence[Migration], ports: Ports) -> dict[str, Json]:
    """What policy is told of migrations of the catalog, wherever they are applied."""
    from control_plane.fleet.checker import texts

    catalog, numbers = ports.catalog, {one.number for one in migrations}
    # Read up to their end: a migration is understood by those before it.
    read = texts(catalog.migrations[: max(numbers, default=0)], set(catalog.collections))
    wanted = [one for every in read.values() for one in every if one.migration.number in numbers]
    return {
        "migrations": len(migrations),
        "contracts": sum(one.is_contract for one in migrations),
        "non_transactional": sum(_is_beside(one) for one in migrations),
        "changes_rows": any(change.kind in _ROWS for one in wanted for change in one.changes),
    }


def _is_beside(one: Migration) -> bool:
    return not all(variant.header.transactional for variant in one.variants.values())


def told_migration(one: Migration) -> dict[str, Json]:
    """A migration as a plan shows it."""
    header = one.header
    return {
        "number": one.number,
        "name": one.name,
        "digest": one.digest,
        "phase": header.phase,
        "transactional": not _is_beside(one),
        "completes": header.completes,
        "reversible_by": header.reversible_by,
    }


def _resumed(
    connection: Connection, migrations: Sequence[Migration], found: Campaign, through: int
) -> FleetPlan:
    if through not in (0, found.last):
        raise Refused(
            "Another campaign rests: take it up to its end, or abort it.",
            code="fleet_migration_open",
            fact="through",
        )
    wanted = tuple(migrations[found.first - 1 : found.last])
    if plan_digest(wanted) != found.digest:
        raise Refused(
            "The campaign's migrations are no longer what they were.",
            code="migration_edited",
            fact="catalog",
        )
    everybody = in_order(found.digest, members(connection))
    return FleetPlan(found.first, found.last, wanted, tuple(everybody), found)


def _reach(connection: Connection, migrations: Sequence[Migration], first: int) -> int:
    """The last migration that may be had now: up to a contract whose expand is not everywhere."""
    last = first - 1
    for one in migrations[first - 1 :]:
        try:
            _require_expanded(connection, migrations, one, first)
        except Refused:
            if last < first:
                raise
            break
        last = one.number
    return last


def _require_expanded(
    connection: Connection, migrations: Sequence[Migration], one: Migration, first: int
) -> None:
    if not one.is_contract:
        return
    begun = next(each for each in migrations if each.name == one.header.completes)
    # Its campaign has come to its end, and nobody is without it that came or came back later.
    stands = begun.number < first and begun.number <= finished(connection)
    if stands:
        known = standing_members(connection, begun.number)
        wanted = {(tenant, place_of(home)) for tenant, home in _settled(connection)}
        stands = wanted <= known
    if not stands:
        raise Refused(
            "The expand that it completes does not stand everywhere yet.",
            code="expand_not_everywhere",
            rule=one.name,
            fact="through",
        )


def _settled(connection: Connection) -> list[tuple[str, Home]]:
    """Databases of tenants that are not on their way: who comes, comes with every migration."""
    table = tables.tenant
    coming = ("provisioning", "provision_failed", "restoring", "deprovisioning", "purging")
    left_out = set(
        connection.execute(select(table.c.id).where(table.c.state.in_(coming))).scalars()
    )
    return [(tenant, home) for tenant, home in members(connection) if tenant not in left_out]
