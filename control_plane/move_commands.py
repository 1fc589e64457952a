"""The commands that move a tenant's data from one database to another. Not the tools' schemas, and no deeds."""

from __future__ import annotations

from typing import ClassVar

from control_plane.commands import Command
from control_plane.domain.home import MAIN
from control_plane.subscription_commands import ChangeSubscription


class MovedSubscription(ChangeSubscription):
    """Another plan that comes with a move: the tenant fits into it where it is to stand."""

    name: ClassVar[str] = "move_subscription"
    proposed_isolation: str


class MoveTenant(Command):
    """Move a living tenant to another isolation model, or to another server, maybe on another plan.

    It is read-only for at most ``max_freeze_s`` seconds, or stays where it is. What it leaves is
    kept for ``keep_days`` days.
    """

    name: ClassVar[str] = "move_tenant"
    tenant: str
    proposed_isolation: str
    proposed_server: str = MAIN
    max_freeze_s: int = 30
    keep_days: int = 7
    change: MovedSubscription | None = None


class FinaliseMove(Command):
    """Remove what a tenant has left by a move: its former database, and the stack that it stood on."""

    name: ClassVar[str] = "finalise_move"
    tenant: str
    database: str
