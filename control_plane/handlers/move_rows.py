"""The rows that a move of a tenant writes: the two databases, and the move itself. Not what is moved."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, select

from control_plane.domain.canonical import instant
from control_plane.domain.database import Database
from control_plane.domain.home import MAIN, Home
from control_plane.domain.isolation import Isolation
from control_plane.domain.move_record import MoveState, TenantMove
from control_plane.errors import Refused
from control_plane.handlers.database_rows import (
    add_database,
    change_database,
    database_row,
    free_home,
    move_database,
    serving,
    standing,
)
from control_plane.handlers.handler import Work
from control_plane.handlers.tenant_moves import tenant_of
from control_plane.move_commands import MoveTenant
from control_plane.store import rows, tables
from control_plane.store.database_left import LEFT_ELSEWHERE
from control_plane.store.database_tables import database, tenant_move

_MOVE = tenant_move.c
_ELSEWHERE: Final = (
    select(database.c.id)
    .join(tables.tenant, tables.tenant.c.id == database.c.tenant)
    .where(database.c.tenant == bindparam("tenant"))
    .where(LEFT_ELSEWHERE)
    .order_by(database.c.id)
)


def move_of_run(connection: Connection, run_id: str) -> TenantMove | None:
    """The move that a run has begun, or None."""
    return rows.by(connection, _MOVE.run_id, TenantMove, run_id)


def move_that_left(connection: Connection, database_id: str) -> TenantMove | None:
    """The move by which a tenant left a database that is still kept, or None."""
    left = (_MOVE.source == database_id) & (_MOVE.state == "observing")
    return rows.first(connection, tenant_move, TenantMove, left)


def former(connection: Connection, tenant: str, database_id: str) -> Database | None:
    """The database that a tenant has left and that is still kept, or None."""
    found = database_row(connection, database_id)
    if found is None or found.tenant != tenant or found.purpose != "former":
        return None
    return None if found.state == "deleted" else found


def begun(work: Work, connection: Connection) -> tuple[Database, Database]:
    """Write down where the tenant is to go, and that it is on its way; both its databases."""
    command = work.command
    assert isinstance(command, MoveTenant)
    tenant = tenant_of(work, connection)
    source = serving(connection, tenant)
    if source is None:
        raise Refused("The tenant has no database.", code="no_database", fact="state")
    model: Isolation = command.proposed_isolation  # type: ignore[assignment]
    home = free_home(connection, tenant, model, command.proposed_server)
    # Once it is left, it must be known which one that was: an old one has no row of its own yet.
    change_database(work, connection, source)
    target = add_database(work, connection, home, "incoming")
    move = TenantMove(
        run_id=work.run.id,
        tenant=tenant.id,
        source=source.id,
        target=target.id,
        state="moving",
        changed_at=instant(work.ports.clock.now()),
    )
    rows.put(connection, tenant_move, move)
    return source, target


def ended(work: Work, connection: Connection, state: MoveState) -> None:
    """The move has come to an end that no cutover was part of, and its target is no database."""
    move = move_of_run(connection, work.run.id)
    assert move is not None, "a move is written before it is ended"
    target = database_row(connection, move.target)
    if target is not None and target.state == "creating":
        move_database(work, connection, target, "fail")
        failed = database_row(connection, move.target)
        assert failed is not None
        move_database(work, connection, failed, "delete")
        gone = database_row(connection, move.target)
        assert gone is not None
        move_database(work, connection, gone, "succeed")
    change_move(work, connection, move.run_id, state=state)


def taken_over(work: Work, connection: Connection, *, records: int, frozen_ms: int) -> Database:
    """The target serves, and the source is kept as the way back; returns the target."""
    command = work.command
    assert isinstance(command, MoveTenant)
    move = move_of_run(connection, work.run.id)
    assert move is not None, "a move is written before its cutover"
    now = work.ports.clock.now()
    until = instant(now + timedelta(days=command.keep_days))
    source, target = (database_row(connection, one) for one in (move.source, move.target))
    assert source is not None
    assert target is not None
    # First, for one alone serves.
    change_database(work, connection, source, purpose="former", kept_until=until)
    move_database(work, connection, target, "succeed", purpose="serving")
    change_move(
        work,
        connection,
        move.run_id,
        state="observing",
        records=records,
        frozen_ms=frozen_ms,
        cutover_at=instant(now),
        kept_until=until,
    )
    return target


def change_move(work: Work, connection: Connection, run_id: str, **values: object) -> None:
    """Write down how far a move is."""
    now = instant(work.ports.clock.now())
    rows.change(connection, tenant_move, _MOVE.run_id == run_id, changed_at=now, **values)


def homes_of(work: Work) -> tuple[Home, Home]:
    """Where this run's move comes from and goes to."""
    with work.ports.store.read() as connection:
        move = move_of_run(connection, work.run.id)
        assert move is not None, "a move is written before its steps"
        source, target = (database_row(connection, one) for one in (move.source, move.target))
    assert source is not None
    assert target is not None
    return source.home, target.home


def models_beside(work: Work) -> frozenset[Isolation]:
    """The models that the tenant's databases stand in, but for the one that this run makes.

    What it has left before, and may go back to, stands on the stack of its model.
    """
    with work.ports.store.read() as connection:
        move = move_of_run(connection, work.run.id)
        assert move is not None, "a move is written before its steps"
        found = standing(connection, tenant_of(work, connection))
    return frozenset(one.isolation for one in found if one.id != move.target)


def columns_of(home: Home) -> dict[str, object]:
    """A home as the tenant's row tells it: what each was before there were others is not told."""
    server = None if home.server == MAIN else home.server
    return {"isolation": home.isolation, "server": server, "slot": home.slot or None}


def left_elsewhere(connection: Connection, tenant: str) -> tuple[str, ...]:
    """The ids of databases that a tenant has left and that are kept on a stack of another model.

    What brings a tenant to an end takes the stack of its own model away, and no other.
    """
    return tuple(connection.execute(_ELSEWHERE, {"tenant": tenant}).scalars())
