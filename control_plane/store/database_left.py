"""Which rows are of databases that a tenant has left for another model: one condition, for whoever asks. No statement."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, and_

from control_plane.store.database_tables import database
from control_plane.store.tables import tenant

LEFT_ELSEWHERE: Final[ColumnElement[bool]] = and_(
    database.c.purpose == "former",
    database.c.state != "deleted",
    database.c.isolation != tenant.c.isolation,
)
"""Of rows of `database` beside their `tenant`: kept as a way back, on a stack of another model."""
