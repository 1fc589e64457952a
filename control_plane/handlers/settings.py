"""The workspace's settings that decisions depend on, read from the store. Not the process's settings."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, select

from control_plane.errors import Unavailable
from control_plane.store import tables


def approval_rule(connection: Connection) -> Literal["two_people", "own_hand"]:
    """The rule that ``init`` asked for; Unavailable when the store has none."""
    table = tables.setting
    value = connection.execute(
        select(table.c.value).where(table.c.name == "approval.rule")
    ).scalar()
    if value == "two_people":
        return "two_people"
    if value == "own_hand":
        return "own_hand"
    raise Unavailable("The workspace has no approval rule.", code="not_initialised")
