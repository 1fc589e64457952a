"""A place beside the one that serves: made for a run, given up again, or kept as the way back. Not what is in it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from control_plane.databases.port import DatabaseEngine
from control_plane.domain.canonical import Json, instant
from control_plane.domain.database import Database, DatabasePurpose
from control_plane.domain.home import Home
from control_plane.handlers.database_rows import (
    add_database,
    database_row,
    free_home,
    move_database,
    standing,
)
from control_plane.handlers.fleet_bring_up import bring_up
from control_plane.handlers.handler import Work
from control_plane.handlers.move_rows import move_that_left
from control_plane.handlers.stack_steps import collections_of
from control_plane.handlers.tenant_moves import noted, noted_now, tenant_of


def take_place(work: Work, connection: Connection, purpose: DatabasePurpose) -> Database:
    """Write down that this run makes another database where the tenant stands, in a free place.

    Refused (`no_place_left`).
    """
    tenant = tenant_of(work, connection)
    home = free_home(connection, tenant, tenant.isolation, tenant.server)
    return add_database(work, connection, home, purpose)


def give_up_place(work: Work, connection: Connection, database_id: str) -> None:
    """Nothing stands there any more, and nobody need know of it: its row ends."""
    for state, event in (("creating", "fail"), ("failed", "delete"), ("deleting", "succeed")):
        found = database_row(connection, database_id)
        if found is not None and found.state == state:
            move_database(work, connection, found, event)


def noted_database(
    work: Work, name: str, connection: Connection | None = None, *, step: str = "begin"
) -> Database:
    """The database that a step of this run has noted under a name."""
    if connection is None:
        with work.ports.store.read() as reading:
            return noted_database(work, name, reading, step=step)
    found = database_row(connection, str(noted(work, connection, step)[name]))
    assert found is not None, "rows of databases are never deleted"
    return found


def engine_of(work: Work, found: Database) -> tuple[DatabaseEngine, Home]:
    """The engine that sees a database, and its home."""
    return work.ports.databases.at(found.home), found.home


def make_place(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make the database in the place that the first step has taken, open for this run alone.

    Nobody else knows of it. Done again it changes nothing, so nothing is judged after a kill.
    """
    engine, home = engine_of(work, noted_database(work, "target"))
    engine.create(work.run.tenant, home.isolation, collections_of(work), work.epoch)
    bring_up(work, home)
    return {"server": home.server, "isolation": home.isolation, "slot": home.slot}


def drop_place(work: Work, connection: Connection | None) -> None:
    """Drop it again: whatever is in it, this run has put there."""
    if "target" not in noted_now(work, "begin"):
        return
    engine, home = engine_of(work, noted_database(work, "target"))
    engine.drop(work.run.tenant, home.isolation, work.epoch)


def way_back(connection: Connection, tenant: str, database_id: str) -> Database | None:
    """The database that a restore has left and that is still kept, or None.

    What a move has left is the move's own way back.
    """
    found = database_row(connection, database_id)
    if found is None or (found.tenant, found.purpose) != (tenant, "former"):
        return None
    if found.state != "available" or move_that_left(connection, found.id) is not None:
        return None
    return found


def kept_until(work: Work, days: int) -> str:
    """So many days from when the run was asked for."""
    return instant(datetime.fromisoformat(work.run.as_of) + timedelta(days=days))


def others(work: Work, connection: Connection) -> list[Database]:
    """Every database of the tenant that does not serve it."""
    found = standing(connection, tenant_of(work, connection))
    return [one for one in found if one.purpose != "serving"]
