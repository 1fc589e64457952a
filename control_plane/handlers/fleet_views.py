"""How far a campaign is, and what stands in one tenant's database beside its receipts. It changes nothing."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.databases.migrated import migrated
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.campaign import Campaign, FleetReceipt, place_of
from control_plane.domain.canonical import Json
from control_plane.errors import NotFound
from control_plane.facts.fleet import FleetFacts
from control_plane.facts.load import tenant_row
from control_plane.fleet import campaigns
from control_plane.fleet.shape import standing
from control_plane.fleet_commands import GetFleetMigration
from control_plane.handlers.fleet_plan import members
from control_plane.handlers.handler import SingleAnswer, Subject, View

_FAILURES_MAX: Final = 50


class GetFleetMigrationHandler(SingleAnswer):
    """Reads one campaign, and looks at one tenant's database where one is named."""

    def subject(self, command: Command, view: View) -> Subject:
        """The fleet, there where there is such a campaign."""
        assert isinstance(command, GetFleetMigration)
        found = (
            campaigns.campaign_row(view.connection, command.campaign)
            if command.campaign
            else campaigns.newest(view.connection)
        )
        facts = FleetFacts(exists=found is not None, member=EVERY_TENANT in view.caller.tenants)
        return Subject(id="fleet", facts=facts, loaded=found)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """State, counts, failures; of a tenant its receipts, and whether its tables are as they say."""
        assert isinstance(command, GetFleetMigration)
        assert isinstance(subject.loaded, Campaign)
        told = described_campaign(view.connection, subject.loaded)
        return {**told, "tenant": _tenant(view, command.tenant) if command.tenant else None}


def described_campaign(connection: Connection, found: Campaign) -> dict[str, Json]:
    """A campaign as a reader may see it."""
    known = campaigns.standing_members(connection, found.last)
    everybody = members(connection)
    done = sum((tenant, place_of(home)) in known for tenant, home in everybody)
    failed = campaigns.failures(connection, found.id, _FAILURES_MAX)
    return {
        "campaign": found.id,
        "state": found.standing,
        "asked": found.asked or None,
        "reason": found.reason or None,
        "first": found.first,
        "last": found.last,
        "run_id": found.run_id,
        "databases": len(everybody),
        "done": done,
        "failed": len(campaigns.failed_members(connection, found.id)),
        "failures": [_failure(one) for one in failed],
        "created_at": found.created_at,
        "changed_at": found.changed_at,
    }


def _tenant(view: View, tenant: str) -> dict[str, Json]:
    row = tenant_row(view.connection, tenant)
    if row is None:
        raise NotFound
    receipts = [
        one
        for one in campaigns.receipts_of(view.connection, tenant)
        if one.place == place_of(row.home)
    ]
    engine = view.ports.databases.at(row.home)
    with engine.reading(tenant, row.isolation) as connection:
        known = migrated(connection)
        digest, as_left = standing(connection, known)
    done = [one for one in receipts if one.state == "done"]
    said = max(done, key=lambda one: one.number, default=None)
    # What our store says, what the database says, and what stands: any two may differ.
    agrees = said is None or (said.number in known and known[said.number].after == said.after)
    return {
        "tenant": tenant,
        "place": place_of(row.home),
        "receipts": [told_receipt(one) for one in receipts],
        "shape": digest,
        "drifted": not (as_left and agrees),
    }


def _failure(one: FleetReceipt) -> dict[str, Json]:
    return {
        "tenant": one.tenant,
        "migration": one.migration,
        "code": one.code,
        "detail": one.detail or None,
        "attempts": one.attempts,
    }


def told_receipt(one: FleetReceipt) -> dict[str, Json]:
    """What one migration has come to in one database, as a reader may see it."""
    return {
        "number": one.number,
        "migration": one.migration,
        "state": one.state,
        "before": one.before or None,
        "after": one.after or None,
        "attempts": one.attempts,
        "code": one.code or None,
        "changed_at": one.changed_at,
    }
