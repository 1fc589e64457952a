"""The handlers that ask a campaign to rest or to end. The worker that carries it hears them."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.domain.call import Call
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.campaign import CAMPAIGN, Asked, Campaign
from control_plane.domain.canonical import Json
from control_plane.errors import Refused
from control_plane.facts.fleet import FleetFacts
from control_plane.fleet import campaigns
from control_plane.fleet_commands import AbortFleetMigration, PauseFleetMigration
from control_plane.handlers.fleet_views import described_campaign
from control_plane.handlers.handler import BlindChange, Ports, Seen, Subject, View
from control_plane.store import rows
from control_plane.store.database_tables import fleet_migration


class _Order(BlindChange):
    """Writes one word into the campaign's row; heard between two chunks of tenants."""

    outside = False
    asked: ClassVar[Asked]
    event: ClassVar[str]

    def subject(self, command: Command, view: View) -> Subject:
        """The fleet, there where a campaign is not over."""
        found = campaigns.open_campaign(view.connection)
        facts = FleetFacts(exists=found is not None, member=EVERY_TENANT in view.caller.tenants)
        return Subject(id="fleet", facts=facts, acts=(self.asked,), loaded=found)

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The one row that would change."""
        assert isinstance(subject.loaded, Campaign)
        return {"rows": {"campaign": subject.loaded.id, "asked": self.asked}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Write it, where the campaign's state allows. Refused (`illegal_transition`, `…_moved`)."""
        assert connection is not None, "the row is in our own store"
        found = subject.loaded
        assert isinstance(found, Campaign)
        CAMPAIGN.next(found.state, self.event)
        table = fleet_migration
        mine = (table.c.id == found.id) & (table.c.version == found.version)
        if rows.change(connection, table, mine, asked=self.asked, asked_by=call.principal) != 1:
            raise Refused("The campaign has moved on.", code="fleet_migration_moved", fact="state")
        return found.id

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The campaign as it stands; who carries it out may be a moment behind."""
        found = campaigns.campaign_row(view.connection, str(effect))
        assert found is not None, "campaigns are never deleted"
        return described_campaign(view.connection, found)


class PauseFleetMigrationHandler(_Order):
    """Asks the campaign at work to rest."""

    command_type: type[Command] = PauseFleetMigration
    asked = "pause"
    event = "pause"


class AbortFleetMigrationHandler(_Order):
    """Asks the campaign to end."""

    command_type: type[Command] = AbortFleetMigration
    asked = "abort"
    event = "cancel"
