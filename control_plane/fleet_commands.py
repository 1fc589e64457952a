"""The commands about changes of all tenants' databases. Not the tools' schemas, and no deeds."""

from __future__ import annotations

from typing import ClassVar

from control_plane.commands import Command


class StartFleetMigration(Command):
    """Bring every tenant's database to migration ``through``, or take up the campaign that rests.

    0 is the last one that may be had now. It halts once more than ``failures_max`` have failed.
    """

    name: ClassVar[str] = "start_fleet_migration"
    through: int = 0
    failures_max: int = 0


class GetFleetMigration(Command):
    """Read how far a campaign is; the newest where none is named. With a tenant, look at its database."""

    name: ClassVar[str] = "get_fleet_migration"
    campaign: str = ""
    tenant: str = ""


class PauseFleetMigration(Command):
    """Let the campaign that is at work rest, behind the tenants that it has in hand."""

    name: ClassVar[str] = "pause_fleet_migration"


class AbortFleetMigration(Command):
    """End the campaign where it is: who has been changed stays so."""

    name: ClassVar[str] = "abort_fleet_migration"
